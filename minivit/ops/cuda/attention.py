"""Twin of multi-head attention: products by cuBLAS straight from the merged q k v, softmax in place.

Nothing is copied to separate heads: a head of q is a view of qkv (B, T, 3 D) whose rows lie 3 D apart. The
scores' rows are padded to a multiple of 8 numbers, which lets tensor cores read them; the padding is 0.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from minivit import functions as fn
from minivit.arrays import Array, array_module
from minivit.functions.attention import MultiHeadAttentionCache
from minivit.functions.linear import LinearCache
from minivit.ops.cuda.launch import THREADS, launch, real_dtype, stored, warps_grid
from minivit.ops.cuda.products import products
from minivit.ops.cuda.source import build
from minivit.ops.cuda.twins import linear, linear_backward


class FusedAttention(NamedTuple):
    """Between the two projections."""

    qkv: Array  # (B, T, 3 D)  queries, keys and values side by side
    padded: Array  # (B, K, T, S)  the probabilities, rows padded from T to S

    @property
    def p(self) -> Array:
        """The probabilities (B, K, T, T): a view."""
        return self.padded[..., : self.qkv.shape[1]]


class FusedAttentionCache(NamedTuple):
    """What the backward pass needs."""

    qkv: LinearCache
    attention: FusedAttention
    out: LinearCache
    heads: int


def multi_head_attention(
    x: Array, qkv_weight: Array, qkv_bias: Array, out_weight: Array, out_bias: Array, heads: int
) -> tuple[Array, FusedAttentionCache | MultiHeadAttentionCache]:
    """Twin of `functions.multi_head_attention`: x (B, T, D), qkv_weight (D, 3 D), out_weight (D, D)."""
    parameters = (qkv_weight, qkv_bias, out_weight, out_bias)
    shapes_fit = x.ndim == 3 and heads >= 1 and x.shape[-1] % heads == 0 and qkv_weight.shape[-1] == 3 * x.shape[-1]
    if not shapes_fit or not stored(*parameters) or x.dtype != qkv_weight.dtype:
        return fn.multi_head_attention(x, *parameters, heads)
    xp = array_module(x)
    batch, tokens, width = x.shape
    qkv, qkv_cache = linear(x, qkv_weight, qkv_bias)
    p = xp.empty((batch, heads, tokens, -(-tokens // 8) * 8), dtype=x.dtype)
    y = xp.empty((batch, tokens, width), dtype=x.dtype)
    q, k, v = _heads(qkv, 3, heads)
    for head in range(heads):
        products(q[head], k[head].transpose(0, 2, 1), p[:, head, :, :tokens])
    _softmax("softmax", [p], tokens, width // heads)
    for head in range(heads):
        products(p[:, head, :, :tokens], v[head], _heads(y, 1, heads)[0][head])
    y, out = linear(y, out_weight, out_bias)
    return y, FusedAttentionCache(qkv_cache, FusedAttention(qkv, p), out, heads)


def multi_head_attention_backward(
    dy: Array, cache: FusedAttentionCache | MultiHeadAttentionCache
) -> tuple[Array, Array, Array, Array, Array]:
    """Twin of `functions.multi_head_attention_backward`: dy (B, T, D)."""
    if isinstance(cache, MultiHeadAttentionCache):
        return fn.multi_head_attention_backward(dy, cache)
    xp = array_module(dy)
    qkv, p = cache.attention
    tokens, heads = qkv.shape[1], cache.heads
    dy, dout_weight, dout_bias = linear_backward(dy, cache.out)
    ds, dqkv = xp.empty_like(p), xp.empty_like(qkv)
    (q, k, v), (dq, dk, dv), (dy_heads,) = _heads(qkv, 3, heads), _heads(dqkv, 3, heads), _heads(dy, 1, heads)
    for head in range(heads):
        products(dy_heads[head], v[head].transpose(0, 2, 1), ds[:, head, :, :tokens])
        products(p[:, head, :, :tokens].transpose(0, 2, 1), dy_heads[head], dv[head])
    _softmax("softmax_backward", [ds, p], tokens, q[0].shape[-1])
    for head in range(heads):
        scores = ds[:, head, :, :tokens]
        products(scores, k[head], dq[head])
        products(scores.transpose(0, 2, 1), q[head], dk[head])
    dx, dqkv_weight, dqkv_bias = linear_backward(dqkv, cache.qkv)
    return dx, dqkv_weight, dqkv_bias, dout_weight, dout_bias


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
    program = build("softmax", scores.dtype.name, COLUMNS=tokens, STRIDE=scores.shape[-1])
    launch(program, kernel, warps_grid(rows), THREADS, [*arrays, scale, np.int32(rows)])
