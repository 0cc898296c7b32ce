"""Attention between the projections, as cuBLAS products with softmax in place between them: for any size.

Nothing is copied to separate heads: a head of q is a view of qkv (B, T, 3 D) whose rows lie 3 D apart. The
scores' rows are padded to a multiple of 8 numbers, which lets tensor cores read them; the padding is 0.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from minivit.arrays import Array, array_module
from minivit.ops.cuda.launch import THREADS, Columns, column_sums, launch, real_dtype, warps_grid
from minivit.ops.cuda.products import products
from minivit.ops.cuda.source import build


class ByProducts(NamedTuple):
    """What the backward pass needs."""

    qkv: Array  # (B, T, 3 D)  queries, keys and values side by side
    padded: Array  # (B, K, T, S)  the probabilities, rows padded from T to S

    @property
    def p(self) -> Array:
        """The probabilities (B, K, T, T): a view."""
        return self.padded[..., : self.qkv.shape[1]]


def attention(qkv: Array, bias: Array, heads: int) -> tuple[Array, ByProducts]:
    """y (B, T, D) for qkv (B, T, 3 D), to which its bias (3 D,) is added in place."""
    batch, tokens, width = qkv.shape
    rows = qkv.reshape(-1, width)
    Columns(rows).change("add_bias", [rows, bias], (rows,))
    cache = ByProducts(qkv, probabilities(qkv, heads))
    y = array_module(qkv).empty((batch, tokens, width // 3), dtype=qkv.dtype)
    _, _, v = _heads(qkv, 3, heads)
    for head, into in enumerate(_heads(y, 1, heads)[0]):
        products(cache.p[:, head], v[head], into)
    return y, cache


def attention_backward(dy: Array, cache: ByProducts) -> tuple[Array, Array]:
    """dqkv (B, T, 3 D) and the bias's gradient (3 D,), float32 or wider, for dy (B, T, D)."""
    qkv, padded = cache
    heads, tokens = padded.shape[1], qkv.shape[1]
    ds, dqkv = (array_module(dy).empty_like(x) for x in (padded, qkv))
    (q, k, v), (dq, dk, dv), (dy_heads,) = _heads(qkv, 3, heads), _heads(dqkv, 3, heads), _heads(dy, 1, heads)
    for head in range(heads):
        products(dy_heads[head], v[head].transpose(0, 2, 1), ds[:, head, :, :tokens])
        products(cache.p[:, head].transpose(0, 2, 1), dy_heads[head], dv[head])
    _softmax("softmax_backward", [ds, padded], tokens, q[0].shape[-1])
    for head in range(heads):
        scores = ds[:, head, :, :tokens]
        products(scores, k[head], dq[head])
        products(scores.transpose(0, 2, 1), q[head], dk[head])
    return dqkv, column_sums(dqkv.reshape(-1, dqkv.shape[-1]))


def probabilities(qkv: Array, heads: int) -> Array:
    """softmax(q k' / sqrt(D / K)), (B, K, T, S), of qkv (B, T, 3 D): rows padded from T to S."""
    batch, tokens, _ = qkv.shape
    p = array_module(qkv).empty((batch, heads, tokens, -(-tokens // 8) * 8), dtype=qkv.dtype)
    q, k, _ = _heads(qkv, 3, heads)
    for head in range(heads):
        products(q[head], k[head].transpose(0, 2, 1), p[:, head, :, :tokens])
    _softmax("softmax", [p], tokens, q[0].shape[-1])
    return p


def _heads(x: Array, parts: int, heads: int) -> list[list[Array]]:
    """The heads of each part of x (B, T, parts D): views (B, T, D / K)."""
    width = x.shape[-1] // (parts * heads)
    starts = [[(part * heads + head) * width for head in range(heads)] for part in range(parts)]
    return [[x[:, :, start : start + width] for start in part] for part in starts]


def _softmax(kernel: str, arrays: list[Array], tokens: int, head_width: int) -> None:
    """softmax.cu on scores (B, K, T, S), in place of the first array, with attention's scale folded in."""
    scores = arrays[0]
    rows = scores.size // scores.shape[-1]
    scale = real_dtype(scores)(1.0 / math.sqrt(head_width))
    program = build("softmax", scores.dtype, COLUMNS=tokens, STRIDE=scores.shape[-1])
    launch(program, kernel, warps_grid(rows), THREADS, [*arrays, scale, np.int32(rows)])
