"""Fused twins for the CPU: one pass over memory where a chain of NumPy calls makes several.

    linear                  the bias is added in place; its gradient is summed row by row
    layer_norm, pre_norm    statistics and result a row at a time, while it is in the cache
    mlp                     bias and GELU in one pass; Phi is computed again on the way back, not kept
    multi_head_attention    bias and head layout in one pass, softmax in place

Each has the name and signature of its readable function in `minivit.functions`, and is that function for
arrays it is not made for (float16, complex, another library's). Needs Numba: the extra `fast`.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from minivit import functions as fn
from minivit.arrays import Array
from minivit.functions.attention import AttentionCache, MultiHeadAttentionCache
from minivit.functions.dropout import DropoutCache
from minivit.functions.gelu import GeluForm
from minivit.functions.layer_norm import LayerNormCache
from minivit.functions.linear import LinearCache
from minivit.functions.mlp import MlpCache
from minivit.ops import reference
from minivit.ops.kernels import attention as heads_kernels
from minivit.ops.kernels import gelu as gelu_kernels
from minivit.ops.kernels.bias import add_bias, column_sums
from minivit.ops.kernels.layer_norm import layer_norm_rows, layer_norm_rows_backward
from minivit.randomness import Key

__all__ = reference.__all__


def __getattr__(name: str) -> Any:
    """What has no twin here, because it is fast enough or not in a step, is the readable function."""
    return getattr(reference, name)


def _fits(*arrays: Any) -> bool:
    """Whether the kernels take these arrays: NumPy's, all float32 or all float64, and not empty."""
    if not all(isinstance(a, np.ndarray) and a.size for a in arrays):
        return False
    dtype = arrays[0].dtype
    return dtype in (np.float32, np.float64) and all(a.dtype == dtype for a in arrays)


def _rows(x: Array) -> Array:
    """x (..., D) as contiguous rows (N, D): a view where x is contiguous."""
    return np.ascontiguousarray(x.reshape(-1, x.shape[-1]))


def linear(x: Array, w: Array, b: Array) -> tuple[Array, LinearCache]:
    """Twin of `functions.linear`: x (..., D_in), w (D_in, D_out), b (D_out,)."""
    if not _fits(x, w, b) or w.ndim != 2 or b.shape != w.shape[1:] or x.shape[-1:] != w.shape[:1]:
        return fn.linear(x, w, b)
    y = x.reshape(-1, w.shape[0]) @ w
    add_bias(y, np.ascontiguousarray(b))
    return y.reshape(*x.shape[:-1], w.shape[1]), LinearCache(x, w)


def linear_backward(dy: Array, cache: LinearCache) -> tuple[Array, Array, Array]:
    """Twin of `functions.linear_backward`: dy (..., D_out)."""
    x, w = cache
    if not _fits(dy, x, w):
        return fn.linear_backward(dy, cache)
    rows_dy = _rows(dy)
    dx, dw = _products_backward(rows_dy, cache)
    return dx.reshape(x.shape), dw, column_sums(rows_dy)


def _products_backward(rows_dy: Array, cache: LinearCache) -> tuple[Array, Array]:
    """dx (N, D_in) and dw for dy as rows (N, D_out): a linear layer without its bias."""
    x, w = cache
    return rows_dy @ w.T, x.reshape(-1, w.shape[0]).T @ rows_dy


def layer_norm(x: Array, g: Array, b: Array, eps: float = 1e-6) -> tuple[Array, LayerNormCache]:
    """Twin of `functions.layer_norm`: x (..., D), g (D,), b (D,)."""
    if not _fits(x, g, b) or g.shape != x.shape[-1:] or b.shape != x.shape[-1:]:
        return fn.layer_norm(x, g, b, eps)
    rows = _rows(x)
    y, mean, rstd = np.empty_like(rows), np.empty(len(rows), x.dtype), np.empty(len(rows), x.dtype)
    layer_norm_rows(rows, np.ascontiguousarray(g), np.ascontiguousarray(b), eps, y, mean, rstd)
    shape = (*x.shape[:-1], 1)
    return y.reshape(x.shape), LayerNormCache(x, g, mean.reshape(shape), rstd.reshape(shape))


def layer_norm_backward(dy: Array, cache: LayerNormCache) -> tuple[Array, Array, Array]:
    """Twin of `functions.layer_norm_backward`: dy (..., D)."""
    if not _fits(dy, *cache) or dy.shape != cache.x.shape:
        return fn.layer_norm_backward(dy, cache)
    return _norm_backward(dy, cache, None)


def pre_norm(z: Array, g: Array, b: Array, eps: float = 1e-6) -> tuple[Array, LayerNormCache]:
    """Twin of `functions.pre_norm`: z (..., D), g (D,), b (D,)."""
    return layer_norm(z, g, b, eps)


def pre_norm_backward(dz: Array, dx: Array, cache: LayerNormCache) -> tuple[Array, Array, Array]:
    """Twin of `functions.pre_norm_backward`: dz, dx (..., D)."""
    if not _fits(dz, dx, *cache) or not dz.shape == dx.shape == cache.x.shape:
        return fn.pre_norm_backward(dz, dx, cache)
    return _norm_backward(dx, cache, _rows(dz))


def _norm_backward(dy: Array, cache: LayerNormCache, more: Array | None) -> tuple[Array, Array, Array]:
    """(dx, dg, db); `more` (N, D), rows like dy's, is added to dx."""
    x, g, mean, rstd = cache
    rows_dy = _rows(dy)
    dx = np.empty_like(rows_dy)
    given = rows_dy, _rows(x), np.ascontiguousarray(g), mean.reshape(-1), rstd.reshape(-1)
    sums = layer_norm_rows_backward(*given, more, dx)
    return dx.reshape(dy.shape), sums[0], sums[1]


class FusedMlpCache(NamedTuple):
    """What the backward pass of the fused MLP needs."""

    fc1: LinearCache
    pre: Array  # (N, F)  what GELU got: x w1 + b1
    form: GeluForm
    dropout: DropoutCache
    fc2: LinearCache


def mlp(
    x: Array,
    fc1_weight: Array,
    fc1_bias: Array,
    fc2_weight: Array,
    fc2_bias: Array,
    form: GeluForm = "tanh",
    rate: float = 0.0,
    key: Key | None = None,
) -> tuple[Array, FusedMlpCache | MlpCache]:
    """Twin of `functions.mlp`: x (..., D), fc1_weight (D, F), fc2_weight (F, D)."""
    shapes_fit = (
        x.shape[-1:] == fc1_weight.shape[:1]
        and fc1_bias.shape == fc1_weight.shape[1:]
        and fc2_weight.ndim == 2
        and fc2_weight.shape[:1] == fc1_weight.shape[1:]
        and form in ("tanh", "erf")
    )
    if not shapes_fit or not _fits(x, fc1_weight, fc1_bias, fc2_weight, fc2_bias):
        return fn.mlp(x, fc1_weight, fc1_bias, fc2_weight, fc2_bias, form, rate, key)
    pre = x.reshape(-1, fc1_weight.shape[0]) @ fc1_weight
    h = np.empty_like(pre)
    bias_gelu = gelu_kernels.bias_gelu_tanh if form == "tanh" else gelu_kernels.bias_gelu_erf
    bias_gelu(pre, np.ascontiguousarray(fc1_bias), h)
    h, dropout_cache = fn.dropout(h.reshape(*x.shape[:-1], -1), rate, key)
    y, fc2 = linear(h, fc2_weight, fc2_bias)
    return y, FusedMlpCache(LinearCache(x, fc1_weight), pre, form, dropout_cache, fc2)


def mlp_backward(dy: Array, cache: FusedMlpCache | MlpCache) -> tuple[Array, Array, Array, Array, Array]:
    """Twin of `functions.mlp_backward`: dy (..., D)."""
    if isinstance(cache, MlpCache):
        return fn.mlp_backward(dy, cache)
    dh, dfc2_weight, dfc2_bias = linear_backward(dy, cache.fc2)
    dh = _rows(fn.dropout_backward(dh, cache.dropout))  # an array of its own: linear_backward made it
    slope = gelu_kernels.gelu_tanh_backward if cache.form == "tanh" else gelu_kernels.gelu_erf_backward
    dfc1_bias = slope(dh, cache.pre)
    dx, dfc1_weight = _products_backward(dh, cache.fc1)
    return dx.reshape(cache.fc1.x.shape), dfc1_weight, dfc1_bias, dfc2_weight, dfc2_bias


def multi_head_attention(
    x: Array,
    qkv_weight: Array,
    qkv_bias: Array,
    out_weight: Array,
    out_bias: Array,
    heads: int,
    queries: int | None = None,
) -> tuple[Array, MultiHeadAttentionCache]:
    """Twin of `functions.multi_head_attention`: x (B, T, D), qkv_weight (D, 3 D), out_weight (D, D)."""
    shapes_fit = (
        x.ndim == 3
        and heads >= 1
        and x.shape[-1] % heads == 0
        and qkv_weight.shape == (x.shape[-1], 3 * x.shape[-1])
        and qkv_bias.shape == qkv_weight.shape[1:]
        and (queries is None or 1 <= queries <= x.shape[1])
    )
    if not shapes_fit or not _fits(x, qkv_weight, qkv_bias, out_weight, out_bias):
        return fn.multi_head_attention(x, qkv_weight, qkv_bias, out_weight, out_bias, heads, queries)
    batch, tokens, width = x.shape
    qkv = (x.reshape(-1, width) @ qkv_weight).reshape(batch, tokens, 3 * width)
    parts = np.empty((3, batch, heads, tokens, width // heads), x.dtype)
    heads_kernels.split_heads(qkv, np.ascontiguousarray(qkv_bias), parts)
    q, k, v = parts.reshape(3, batch * heads, tokens, -1)
    p = q[:, :queries] @ k.transpose(0, 2, 1)
    heads_kernels.softmax_rows(p.reshape(-1, tokens), 1.0 / math.sqrt(q.shape[-1]))
    y = np.empty((batch, p.shape[1], width), x.dtype)
    heads_kernels.merge_heads((p @ v).reshape(batch, heads, -1, q.shape[-1]), y, 0)
    y, out = linear(y, out_weight, out_bias)
    p = p.reshape(batch, heads, -1, tokens)
    between = AttentionCache(parts[0, :, :, :queries], parts[1], parts[2], p)
    return y, MultiHeadAttentionCache(LinearCache(x, qkv_weight), between, out, heads)


def multi_head_attention_backward(
    dy: Array, cache: MultiHeadAttentionCache
) -> tuple[Array, Array, Array, Array, Array]:
    """Twin of `functions.multi_head_attention_backward`: dy (B, T, D), or (B, queries, D)."""
    if not _fits(dy, *cache.attention):
        return fn.multi_head_attention_backward(dy, cache)
    batch, queries, width = dy.shape
    heads, tokens, head = cache.heads, cache.qkv.x.shape[1], width // cache.heads
    dy, dout_weight, dout_bias = linear_backward(dy, cache.out)
    q, k, v, p = (np.ascontiguousarray(part).reshape(batch * heads, *part.shape[2:]) for part in cache.attention)
    dy_heads = np.empty((1, batch, heads, queries, head), dy.dtype)
    heads_kernels.split_heads(dy, np.zeros(width, dy.dtype), dy_heads)
    dy = dy_heads.reshape(q.shape)
    dv = p.transpose(0, 2, 1) @ dy
    ds = dy @ v.transpose(0, 2, 1)
    heads_kernels.softmax_rows_backward(ds.reshape(-1, tokens), p.reshape(-1, tokens), 1.0 / math.sqrt(q.shape[-1]))
    dq, dk = ds @ k, ds.transpose(0, 2, 1) @ q
    dqkv = np.empty((batch, tokens, 3 * width), dy.dtype)
    dqkv[:, queries:, :width] = 0  # nobody asked for the other tokens
    for which, part in enumerate((dq, dk, dv)):
        heads_kernels.merge_heads(part.reshape(batch, heads, -1, head), dqkv, which * width)
    dx, dqkv_weight, dqkv_bias = linear_backward(dqkv, cache.qkv)
    return dx, dqkv_weight, dqkv_bias, dout_weight, dout_bias
