"""Softmax over the last axis: any numbers become weights that are positive and sum to 1.

    y_i = exp(x_i) / sum_j exp(x_j)
    dx_i = y_i (dy_i - sum_j dy_j y_j)

Adding a constant to a row changes nothing, so the row's largest number is taken off first: no
exponential can overflow. For the same reason dx sums to 0 in each row: what the backward pass takes off
dy is its mean, weighted by y.
"""

from __future__ import annotations

from typing import NamedTuple

from minivit.arrays import Array, array_module, cast, real_part, wide


class SoftmaxCache(NamedTuple):
    """What the backward pass needs."""

    y: Array  # (..., T)  the result itself


def softmax(x: Array) -> tuple[Array, SoftmaxCache]:
    """Normalise exp(x) over the last axis of x (..., T). Returns y like x, and the cache."""
    xp = array_module(x)
    # The shift is a constant to the derivative; of a complex x (the complex-step check) the real part counts.
    y = wide(x) - xp.max(wide(real_part(x)), axis=-1, keepdims=True)
    y = xp.exp(y)
    y /= xp.sum(y, axis=-1, keepdims=True)
    y = cast(y, x.dtype)
    return y, SoftmaxCache(y)


def softmax_backward(dy: Array, cache: SoftmaxCache) -> Array:
    """Gradient dx (..., T) like dy, for dy (..., T). Changes no argument."""
    xp = array_module(dy)
    y = wide(cache.y)
    dx = wide(dy) * y
    dx -= y * xp.sum(dx, axis=-1, keepdims=True)
    return cast(dx, dy.dtype)
