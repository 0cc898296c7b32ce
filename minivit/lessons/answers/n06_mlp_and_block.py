"""Answers to notebooks/06_mlp_and_block.ipynb."""

from __future__ import annotations

from typing import Any

import numpy as np

from minivit.arrays import Array
from minivit.functions import gelu, gelu_backward
from minivit.gradcheck.catalog import normal
from minivit.lessons.exercise import pair_exercise
from minivit.lessons.slips import Slip, naming_gradient_slips


def drop_path_by(x: Array, kept: Array, rate: float) -> tuple[Array, Any]:
    """Keep the images of x (B, ...) where kept (B,) is True, over 1 - rate. Returns y like x, and the cache."""
    mask = kept.reshape(-1, *(1,) * (x.ndim - 1))
    return x * mask / (1.0 - rate), (mask, rate)


def drop_path_by_backward(dy: Array, cache: Any) -> Array:
    """Gradient dx for dy (B, ...); kept is no variable."""
    mask, rate = cache
    return dy * mask / (1.0 - rate)


def layer_scale(x: Array, gamma: Array) -> tuple[Array, Any]:
    """Scale x (B, T, D) by gamma (D,). Returns y like x, and the cache."""
    return x * gamma, (x, gamma)


def layer_scale_backward(dy: Array, cache: Any) -> tuple[Array, Array]:
    """Gradients (dx, dgamma) for dy (B, T, D)."""
    x, gamma = cache
    return dy * gamma, np.sum(dy * x, axis=(0, 1))


def geglu(a: Array, b: Array) -> tuple[Array, Any]:
    """Gate a (..., F) by the GELU of b (..., F), tanh form. Returns y like a, and the cache."""
    gate, gate_cache = gelu(b, "tanh")
    return a * gate, (a, gate, gate_cache)


def geglu_backward(dy: Array, cache: Any) -> tuple[Array, Array]:
    """Gradients (da, db) for dy (..., F)."""
    a, gate, gate_cache = cache
    return dy * gate, gelu_backward(dy * a, gate_cache)


def _geglu_without_a(dy: Array, cache: Any) -> tuple[Array, Array]:
    _, gate, gate_cache = cache
    return dy * gate, gelu_backward(dy, gate_cache)


def _geglu_by_gelu(dy: Array, cache: Any) -> tuple[Array, Array]:
    a, gate, _ = cache
    return dy * gate, dy * a * gate


_GEGLU_CASES = (
    (normal(5, 2, 3, 5, scale=2.0), normal(6, 2, 3, 5, scale=2.0)),
    (normal(7, 4), normal(8, 4)),
)
_GEGLU_SLIPS: list[Slip] = [
    ("a is missing: GELU's result gets dy * a", _geglu_without_a),
    ("GELU itself stands where its derivative belongs", _geglu_by_gelu),
]

EXERCISES = {
    "6.1": pair_exercise(
        "drop path",
        drop_path_by,
        drop_path_by_backward,
        (normal(1, 5, 3, 4), np.array([True, False, True, True, False]), 0.3),
        (normal(2, 4, 4), np.array([False, True, True, False]), 0.6),
    ),
    "6.2": pair_exercise("LayerScale", layer_scale, layer_scale_backward, (normal(3, 3, 7, 5), normal(4, 5))),
    "6.3": naming_gradient_slips(
        pair_exercise("the gated MLP", geglu, geglu_backward, *_GEGLU_CASES), _GEGLU_CASES, _GEGLU_SLIPS
    ),
}
