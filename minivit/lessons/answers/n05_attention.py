"""Answers to notebooks/05_attention.ipynb."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minivit.arrays import Array
from minivit.functions import softmax
from minivit.gradcheck.catalog import normal
from minivit.lessons.exercise import pair_exercise
from minivit.lessons.slips import Slip, naming_slips

MASKED = -1e30  # a score whose exponential is exactly 0; finite, as float32 goes on to 3e38


def masked_attention(q: Array, k: Array, v: Array, mask: Array) -> tuple[Array, Any]:
    """Attention of q (..., T, D_h) over k (..., S, D_h) and v (..., S, D_v) where mask (T, S) is True."""
    s = q @ np.swapaxes(k, -1, -2) / math.sqrt(q.shape[-1])
    p, _ = softmax(np.where(mask, s, MASKED))
    return p @ v, (q, k, v, p)


def masked_attention_backward(dy: Array, cache: Any) -> tuple[Array, Array, Array]:
    """Gradients (dq, dk, dv) for dy (..., T, D_v)."""
    q, k, v, p = cache
    ds = _score_gradient(dy, v, p) / math.sqrt(q.shape[-1])  # 0 where p is
    return ds @ k, np.swapaxes(ds, -1, -2) @ q, np.swapaxes(p, -1, -2) @ dy


def merged_projection(x: Array, w: Array, b: Array, heads: int) -> tuple[Array, Any]:
    """Queries, keys, values of x (B, T, D) by w (D, 3 D) and b (3 D,). Returns y (3, B, K, T, D / K) and the cache."""
    w4 = w.reshape(w.shape[0], 3, heads, -1)  # d: D; z: which of q, k, v; n: head; h: D / K
    y = np.einsum("btd,dznh->zbnth", x, w4) + b.reshape(3, 1, heads, 1, -1)
    return y, (x, w, heads)


def merged_projection_backward(dy: Array, cache: Any) -> tuple[Array, Array, Array]:
    """Gradients (dx, dw, db) for dy (3, B, K, T, D / K)."""
    x, w, heads = cache
    w4 = w.reshape(w.shape[0], 3, heads, -1)
    dx = np.einsum("zbnth,dznh->btd", dy, w4)
    dw = np.einsum("zbnth,btd->dznh", dy, x).reshape(w.shape)
    db = np.einsum("zbnth->znh", dy).reshape(-1)
    return dx, dw, db


def scaled_attention(q: Array, k: Array, v: Array, scale: Array) -> tuple[Array, Any]:
    """Attention of q (..., T, D_h) over k (..., S, D_h), v (..., S, D_v) with scores scale () times q k'."""
    p, _ = softmax(scale * (q @ np.swapaxes(k, -1, -2)))
    return p @ v, (q, k, v, scale, p)


def scaled_attention_backward(dy: Array, cache: Any) -> tuple[Array, Array, Array, Array]:
    """Gradients (dq, dk, dv, dscale) for dy (..., T, D_v): scale () gets the sum over every score."""
    q, k, v, scale, p = cache
    ds = _score_gradient(dy, v, p)
    dscale = np.sum(ds * (q @ np.swapaxes(k, -1, -2)))
    return scale * (ds @ k), scale * (np.swapaxes(ds, -1, -2) @ q), np.swapaxes(p, -1, -2) @ dy, dscale


def _score_gradient(dy: Array, v: Array, p: Array) -> Array:
    """Gradient ds (..., T, S) by the scores whose softmax is p (..., T, S), for dy (..., T, D_v)."""
    dp = dy @ np.swapaxes(v, -1, -2)
    return p * (dp - np.sum(dp * p, axis=-1, keepdims=True))


_SOME = np.array([[True, False, True, False, True], [False, True, False, False, True], [True, True, True, True, True]])
# Keys that are masked score about 200, the others about -200: a masked score has to be lower than any score may be.
_FAR = (
    normal(19, 3, 4, scale=0.1) + np.array([20.0, 0.0, 0.0, 0.0]),
    normal(20, 5, 4, scale=0.1) - np.where(_SOME[0], 20.0, -20.0)[:, None] * np.array([1.0, 0.0, 0.0, 0.0]),
)
# All scores are about 1000: exp overflows.
_LARGE = (
    normal(22, 3, 4, scale=0.1) + np.array([50.0, 0.0, 0.0, 0.0]),
    normal(23, 5, 4, scale=0.1) + np.array([40.0, 0.0, 0.0, 0.0]),
)
_MASKED_CASES = (
    (normal(1, 3, 5, 4), normal(2, 3, 5, 4), normal(3, 3, 5, 7), np.tri(5, dtype=bool)),
    (normal(4, 3, 4, scale=3.0), normal(5, 5, 4), normal(6, 5, 6), _SOME),
    (*_FAR, normal(21, 5, 6), np.tile(_SOME[0], (3, 1))),
    (*_LARGE, normal(24, 5, 6), _SOME),
)


def _without_maximum(q: Array, k: Array, v: Array, mask: Array) -> Array:
    e = np.exp(q @ np.swapaxes(k, -1, -2) / math.sqrt(q.shape[-1])) * mask
    return e / e.sum(-1, keepdims=True) @ v


_MASKING_SLIPS: list[Slip] = [
    ("exp overflows: take each row's maximum off its scores first, as softmax does", _without_maximum)
]

EXERCISES = {
    "5.1": naming_slips(
        pair_exercise("masking", masked_attention, masked_attention_backward, *_MASKED_CASES),
        _MASKED_CASES,
        _MASKING_SLIPS,
        names=("y",),
    ),
    "5.2": pair_exercise(
        "the merged projection",
        merged_projection,
        merged_projection_backward,
        (normal(7, 2, 5, 12), normal(8, 12, 36), normal(9, 36), 4),
        (normal(10, 1, 3, 6), normal(11, 6, 18), normal(12, 18), 2),
    ),
    "5.3": pair_exercise(
        "a learned scale",
        scaled_attention,
        scaled_attention_backward,
        (normal(13, 3, 6, 4), normal(14, 3, 5, 4), normal(15, 3, 5, 7), np.array(0.7)),
        (normal(16, 5, 4), normal(17, 5, 4), normal(18, 5, 4), np.array(0.7)),
    ),
}
