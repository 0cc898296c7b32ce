"""Attention: every token asks all tokens, and takes a weighted mean of what they answer.

    s = q k' / sqrt(D_h)        how well query i fits key j
    p = softmax(s)              over the keys: each row sums to 1
    y = p v

    dv = p' dy        dp = dy v'        ds = softmax_backward(dp)
    dq = ds k / sqrt(D_h)               dk = ds' q / sqrt(D_h)

Source: Vaswani et al. 2017 (arXiv:1706.03762), eq. 1; Dosovitskiy et al. 2020 (arXiv:2010.11929), App. A.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from minivit.arrays import Array, array_module, cast, require_floats, transposed
from minivit.functions.linear import LinearCache, linear, linear_backward
from minivit.functions.softmax import SoftmaxCache, softmax, softmax_backward


class AttentionCache(NamedTuple):
    """What the backward pass needs; p is the attention map that people look at."""

    q: Array  # (..., T, D_h)  the queries themselves
    k: Array  # (..., S, D_h)  the keys themselves
    v: Array  # (..., S, D_v)  the values themselves
    p: Array  # (..., T, S)    the probabilities: row i is what token i attends to


def attention(q: Array, k: Array, v: Array) -> tuple[Array, AttentionCache]:
    """Scaled dot-product attention of q (..., T, D_h) over k (..., S, D_h) and v (..., S, D_v).

    Returns y (..., T, D_v) like q, and the cache, which holds the probabilities. Raises ValueError if
    the shapes do not fit.
    """
    fits = min(q.ndim, k.ndim, v.ndim) >= 2 and q.shape[:-2] == k.shape[:-2] == v.shape[:-2]
    if not fits or q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ValueError(
            f"attention: q {q.shape}, k {k.shape} and v {v.shape} need one width of q and k (last axis), one number "
            "of tokens of k and v (last but one), and the same leading axes"
        )
    require_floats(q)
    # Scaling q, not the scores, touches T * D_h numbers in place of T * S. (CuPy widens bfloat16 times a number.)
    p, _ = softmax(cast(q * _scale(q), q.dtype) @ transposed(k))
    return p @ v, AttentionCache(q, k, v, p)


def attention_backward(dy: Array, cache: AttentionCache) -> tuple[Array, Array, Array]:
    """Gradients (dq, dk, dv), each like dy, for dy (..., T, D_v). Changes no argument."""
    q, k, v, p = cache
    dv = transposed(p) @ dy
    ds = softmax_backward(dy @ transposed(v), SoftmaxCache(p))
    ds *= _scale(q)
    return ds @ k, transposed(ds) @ q, dv


def _scale(q: Array) -> float:
    """1 / sqrt(D_h) keeps the scores' variance near 1, whatever the width of a head."""
    return 1.0 / math.sqrt(q.shape[-1])


class MultiHeadAttentionCache(NamedTuple):
    """What the backward pass needs."""

    qkv: LinearCache  # the merged projection's
    attention: AttentionCache  # with p (B, K, T, T), or (B, K, queries, T)
    out: LinearCache  # the output projection's
    heads: int


def multi_head_attention(
    x: Array,
    qkv_weight: Array,
    qkv_bias: Array,
    out_weight: Array,
    out_bias: Array,
    heads: int,
    queries: int | None = None,
) -> tuple[Array, MultiHeadAttentionCache]:
    """Multi-head self-attention of x (B, T, D) with K heads of width D / K.

    qkv_weight (D, 3 D) holds the queries' columns, then the keys', then the values'; each third holds
    head after head. out_weight (D, D) mixes the heads again. Returns y (B, T, D) like x, and the cache; with
    `queries`, y (B, queries, D): what the first tokens alone get, which still attend to all.
    Raises ValueError if x is not 3-D, the heads do not divide D, or x has fewer tokens than `queries`.
    """
    if x.ndim != 3 or heads < 1 or x.shape[-1] % heads or qkv_weight.shape[-1] != 3 * x.shape[-1]:
        raise ValueError(
            f"multi_head_attention: x {x.shape} needs the axes (B, T, D) with D divisible by {heads} heads, "
            f"and qkv_weight of shape (D, 3 D), got {qkv_weight.shape}"
        )
    if queries is not None and not 1 <= queries <= x.shape[1]:
        raise ValueError(
            f"multi_head_attention: queries is {queries}; x {x.shape} has {x.shape[1]} tokens, expected 1 to as many"
        )
    qkv, qkv_cache = linear(x, qkv_weight, qkv_bias)
    q, k, v = split_heads(qkv, heads)
    y, attention_cache = attention(q[:, :, :queries, :], k, v)
    y, out_cache = linear(_merge_heads(y), out_weight, out_bias)
    return y, MultiHeadAttentionCache(qkv_cache, attention_cache, out_cache, heads)


def multi_head_attention_backward(
    dy: Array, cache: MultiHeadAttentionCache
) -> tuple[Array, Array, Array, Array, Array]:
    """Gradients (dx, dqkv_weight, dqkv_bias, dout_weight, dout_bias) for dy (B, T, D), or (B, queries, D).

    dx (B, T, D) is like dy, the parameters' are float32 or wider. In theory the keys' third of dqkv_bias is exactly
    zero: it adds the same number to every score of a row, which softmax does not see.
    """
    xp = array_module(dy)
    batch, queries, width = dy.shape
    tokens = cache.qkv.x.shape[1]
    dy, dout_weight, dout_bias = linear_backward(dy, cache.out)
    dy = xp.permute_dims(xp.reshape(dy, (batch, queries, cache.heads, width // cache.heads)), (0, 2, 1, 3))
    dq, dk, dv = attention_backward(dy, cache.attention)
    if queries < tokens:  # nobody asked for the other tokens
        dq = xp.concat([dq, xp.zeros_like(dk[:, :, queries:, :])], axis=2)
    dqkv = xp.stack([dq, dk, dv])  # (3, B, K, T, D_h)
    dqkv = xp.reshape(xp.permute_dims(dqkv, (1, 3, 0, 2, 4)), (batch, tokens, 3 * width))
    dx, dqkv_weight, dqkv_bias = linear_backward(dqkv, cache.qkv)
    return dx, dqkv_weight, dqkv_bias, dout_weight, dout_bias


def split_heads(qkv: Array, heads: int) -> tuple[Array, Array, Array]:
    """Cut qkv (B, T, 3 D) into q, k, v, each a view (B, K, T, D / K): nothing is copied."""
    xp = array_module(qkv)
    batch, tokens, width = qkv.shape
    parts = xp.permute_dims(xp.reshape(qkv, (batch, tokens, 3, heads, width // (3 * heads))), (2, 0, 3, 1, 4))
    return parts[0, ...], parts[1, ...], parts[2, ...]


def _merge_heads(y: Array) -> Array:
    """Lay the heads of y (B, K, T, D / K) side by side again: (B, T, D)."""
    xp = array_module(y)
    batch, heads, tokens, width = y.shape
    return xp.reshape(xp.permute_dims(y, (0, 2, 1, 3)), (batch, tokens, heads * width))
