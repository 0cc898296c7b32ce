"""Shared by the tests of single kernels: random arguments, and how near results have to be."""

from __future__ import annotations

from collections.abc import Callable

import ml_dtypes
import numpy as np

from minivit.arrays import Array
from minivit.randomness import PURPOSES, Key

Run = Callable[..., None]
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
# Relative L2 error against float64 of the same (rounded) arguments: the last digit of the type, a few times.
TOLERANCE = {np.dtype(np.float64): 1e-14, np.dtype(np.float32): 1e-6, BFLOAT16: 4e-3}
DTYPES = sorted(TOLERANCE, key=str)


def real_of(dtype: np.dtype) -> type:
    return np.float64 if dtype == np.float64 else np.float32


def random(*shape: int, dtype: np.dtype, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


def address_of(key: Key) -> Array:
    """Where a kernel reads a key."""
    return np.array([key.seed, PURPOSES.index(key.purpose), key.step, key.epoch, key.image], np.uint64)


def exact(x: Array) -> Array:
    return x.astype(np.float64)


def assert_close(found: Array, expected: Array, dtype: np.dtype) -> None:
    error = np.linalg.norm(exact(found) - expected) / np.linalg.norm(expected)
    assert error < TOLERANCE[dtype], error
