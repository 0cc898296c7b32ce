"""Arrays that the kernels do not take: not aligned, or empty."""

from __future__ import annotations

import types
from typing import Any

import numpy as np
import pytest

from minivit import functions as fn
from minivit.gradcheck import relative_error
from minivit.gradcheck.catalog import DROP_KEY, normal
from minivit.ops.cuda.products import exact_products


def test_a_gradient_that_is_not_aligned_is_copied(
    xp: Any, ops: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a class token of a width that is no multiple of 16 bytes leaves it, where it is cut away as a view."""
    x, w, b = (normal(i, *shape).astype(np.float32) for i, shape in enumerate([(5, 6), (6, 6), (6,)]))
    dy = normal(9, 1, 6, 6).astype(np.float32)
    expected = fn.linear_backward(dy[0, 1:], fn.linear(x, w, b)[1])
    dropped = fn.dropout_backward(dy[0, 1:], fn.dropout(x, 0.5, DROP_KEY)[1])
    view = xp.asarray(dy)[0, 1:]
    assert view.data.ptr % 16
    cache, mask = ops.linear(*map(xp.asarray, (x, w, b)))[1], ops.dropout(xp.asarray(x), 0.5, DROP_KEY)[1]
    monkeypatch.setattr(fn, "linear_backward", None)  # which multiplies as no graph can be recorded
    with exact_products():
        found = ops.linear_backward(view, cache)
    for mine, theirs in zip(found, expected, strict=True):
        assert relative_error(mine.get(), theirs) < 1e-5
    assert np.array_equal(ops.dropout_backward(view, mask).get(), dropped)


def test_what_is_not_aligned_is_left_to_the_readable_function(xp: Any, ops: types.ModuleType) -> None:
    x = xp.asarray(np.arange(17, dtype=np.float32))
    assert ops.dropout(x[:16], 0.5, DROP_KEY)[1].bits is not None
    y, cache = ops.dropout(x[1:], 0.5, DROP_KEY)
    assert isinstance(cache, fn.dropout(np.ones(1), 0.5, DROP_KEY)[1].__class__)
    assert np.array_equal(y.get(), fn.dropout(np.arange(1, 17, dtype=np.float32), 0.5, DROP_KEY)[0])


def test_an_empty_batch_goes_to_the_readable_function(xp: Any, ops: types.ModuleType) -> None:
    x, w, b = xp.zeros((0, 8), dtype=np.float32), xp.ones((8, 3), dtype=np.float32), xp.ones(3, dtype=np.float32)
    assert ops.linear(x, w, b)[0].shape == (0, 3)


def test_an_mlp_of_one_token_alone(xp: Any, ops: types.ModuleType) -> None:
    """x (D,): no axis says which of its numbers are an image's, which masks are drawn by."""
    args = [normal(i, *shape) for i, shape in enumerate([(6,), (6, 8), (8,), (8, 6), (6,)])]
    for key in (DROP_KEY, DROP_KEY._replace(image=9)):
        y_expected, cache_expected = fn.mlp(*args, "tanh", 0.3, key)
        dy = normal(9, 6)
        y, cache = ops.mlp(*map(xp.asarray, args), "tanh", 0.3, key)
        found = ops.mlp_backward(xp.asarray(dy), cache)
        for mine, theirs in zip((y, *found), (y_expected, *fn.mlp_backward(dy, cache_expected)), strict=True):
            assert mine.shape == theirs.shape
            assert relative_error(mine.get(), theirs) < 1e-12


def test_dropout_of_a_number_alone_stays_one(xp: Any, ops: types.ModuleType) -> None:
    y, cache = ops.dropout(xp.asarray(np.array(3.0)), 0.1, DROP_KEY)
    assert y.shape == ops.dropout_backward(y, cache).shape == ()
    assert float(y) == float(fn.dropout(np.array(3.0), 0.1, DROP_KEY)[0])
