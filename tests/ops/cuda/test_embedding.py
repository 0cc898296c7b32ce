"""Class token and positions by kernels, and which arrays those are not for."""

from __future__ import annotations

import types
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from minivit import functions as fn
from minivit.functions.embedding import EmbeddingCache

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
every_dtype = pytest.mark.parametrize("dtype", [np.dtype(np.float64), np.dtype(np.float32), BFLOAT16], ids=str)
NONE = EmbeddingCache()


def random(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(list(shape)).standard_normal(shape).astype(dtype)


def wide_of(dtype: np.dtype) -> type:
    return np.float64 if dtype == np.float64 else np.float32


@every_dtype
@pytest.mark.parametrize(("patches", "width"), [(7, 8), (7, 3), (8, 3)])
def test_class_token_and_positions(
    xp: Any, ops: types.ModuleType, dtype: np.dtype, patches: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By kernels, bit for bit, also where 16 bytes would reach from one token into the next."""
    x, token = random(3, patches, width, dtype=dtype), random(width, dtype=dtype)
    table = random(patches + 1, width, dtype=dtype)
    expected = fn.prepend_class_token(x, token)[0]
    for name in ("prepend_class_token", "add_positions"):
        monkeypatch.delattr(fn, name)
    y, cache = ops.prepend_class_token(xp.asarray(x), xp.asarray(token))
    assert np.array_equal(y.get(), expected)
    dx, dtoken = ops.prepend_class_token_backward(y, cache)
    assert dx.flags.c_contiguous
    assert np.array_equal(dx.get(), x)
    assert dtoken.dtype == wide_of(dtype)
    room = xp.zeros(table.size + 1, dtype=dtype)
    room[1:] = xp.asarray(table.ravel())
    view = room[1:].reshape(table.shape)  # begins where no 16 bytes can be read
    for positions in (xp.asarray(table), xp.asarray(table.astype(np.float64)), view):  # fixed ones are float64
        found, _ = ops.add_positions(y, positions)
        assert np.array_equal(found.get(), expected + table)
    assert np.array_equal(y.get(), expected), "no argument was changed"


@every_dtype
def test_gradient_of_positions(xp: Any, ops: types.ModuleType, dtype: np.dtype) -> None:
    dy = random(9, 3, 8, dtype=dtype)
    same, found = ops.add_positions_backward(xp.asarray(dy), NONE)
    assert np.array_equal(same.get(), dy)
    assert found.dtype == wide_of(dtype)
    assert found.shape == (3, 8)
    expected = dy.astype(np.float64).sum(axis=0)
    assert np.linalg.norm(found.get() - expected) < 1e-6 * np.linalg.norm(expected)


def test_other_arrays_go_to_the_readable_functions(xp: Any, ops: types.ModuleType) -> None:
    """Another order of the axes, a place where no 16 bytes can be read, another type, no patches, or no images."""
    x, token = random(4, 5, 6), random(6)
    turned, behind = xp.asarray(x).transpose(1, 0, 2), xp.asarray(x.ravel())[1:97].reshape(4, 4, 6)
    for given in (turned, behind, xp.asarray(x.astype(np.float64)), xp.zeros((4, 0, 6), np.float32), turned[:, :0]):
        host, front = given.get(), token[: given.shape[-1]]
        y, _ = ops.prepend_class_token(given, xp.asarray(front))
        assert np.array_equal(y.get(), fn.prepend_class_token(host, front)[0])
        table = random(*host.shape[1:])
        found, _ = ops.add_positions(given, xp.asarray(table))
        assert np.array_equal(found.get(), fn.add_positions(host, table)[0])
        if host.shape[1]:
            dx, dtoken = ops.prepend_class_token_backward(given, NONE)
            assert np.array_equal(dx.get(), host[:, 1:])
            np.testing.assert_allclose(dtoken.get(), host[:, 0].sum(axis=0), rtol=1e-6)
    alone, _ = ops.prepend_class_token_backward(xp.asarray(x[:, :1].copy()), NONE)
    assert alone.shape == (4, 0, 6)
    mixed, _ = ops.prepend_class_token(xp.asarray(x.astype(BFLOAT16)), xp.asarray(token))
    assert np.array_equal(mixed.get()[:, 0], np.tile(token.astype(BFLOAT16), (4, 1)))


def test_what_does_not_fit_is_refused_as_by_the_readable_functions(xp: Any, ops: types.ModuleType) -> None:
    x = xp.zeros((2, 5, 8), dtype=np.float32)
    with pytest.raises(
        ValueError, match=r"prepend_class_token: x \(2, 5, 8\) needs 3 axes and a token of shape \(8,\)"
    ):
        ops.prepend_class_token(x, xp.zeros(16, dtype=np.float32))
    for shape in ((8, 5), (6, 8), (40,)):
        with pytest.raises(
            ValueError, match=r"add_positions: x \(2, 5, 8\) needs 3 axes and positions of shape \(5, 8\)"
        ):
            ops.add_positions(x, xp.zeros(shape, dtype=np.float32))
    for function, more in ((ops.prepend_class_token, np.zeros(8)), (ops.add_positions, np.zeros((5, 8)))):
        with pytest.raises((TypeError, ValueError)):  # CuPy's own words
            function(x, more.astype(np.float32))
