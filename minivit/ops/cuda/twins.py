"""Twins of the dense functions: linear, layer norm, MLP.

Each is its readable function for arrays it is not made for.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minivit import functions as fn
from minivit.arrays import Array, array_module, cast
from minivit.functions.gelu import GeluForm
from minivit.functions.layer_norm import LayerNormCache
from minivit.functions.linear import LinearCache
from minivit.functions.mlp import MlpCache
from minivit.ops.cuda.launch import (
    THREADS,
    WARP,
    Columns,
    aligned,
    column_sums,
    launch,
    like,
    norm_warps,
    real_dtype,
    row_blocks,
    stored,
    sum_rows,
    warps_grid,
)
from minivit.ops.cuda.products import product
from minivit.ops.cuda.residual import (
    EACH,
    NO_DRAWS,
    NOTHING_DROPPED,
    AnyKey,
    AnyMask,
    Kept,
    draws,
    dropout,
    dropout_backward,
    host_key,
)
from minivit.ops.cuda.source import build


def rows_of(x: Array) -> Array:
    """x (..., D) as rows (N, D): a view where x is contiguous and begins where the kernels can read."""
    return aligned(x.reshape(-1, x.shape[-1]))


def linear(x: Array, w: Array, b: Array) -> tuple[Array, LinearCache]:
    """Twin of `functions.linear`: x (..., D_in), w (D_in, D_out), b (D_out,)."""
    if w.ndim != 2 or b.shape != w.shape[1:] or x.shape[-1:] != w.shape[:1] or not stored(w, b) or not like(x, w):
        return fn.linear(x, w, b)
    y = product(rows_of(x), w)
    Columns(y).change("add_bias", [y, b], (y,))
    return y.reshape(*x.shape[:-1], w.shape[1]), LinearCache(x, w)


def linear_backward(dy: Array, cache: LinearCache) -> tuple[Array, Array, Array]:
    """Twin of `functions.linear_backward`: dy (..., D_out)."""
    x, w = cache
    rows = rows_of(dy)
    if not stored(rows, w) or x.dtype != w.dtype:
        return fn.linear_backward(dy, cache)
    dx, dw = products_backward(rows, cache)
    return dx.reshape(x.shape), dw, column_sums(rows)


def products_backward(rows: Array, cache: LinearCache) -> tuple[Array, Array]:
    """dx (N, D_in) and dw, float32 or wider, for dy as rows (N, D_out): a linear layer without its bias."""
    x, w = cache
    return product(rows, w.T), product(rows_of(x).T, rows, real_dtype(rows))


def layer_norm(x: Array, g: Array, b: Array, eps: float = 1e-6) -> tuple[Array, LayerNormCache]:
    """Twin of `functions.layer_norm`: x (..., D), g (D,), b (D,)."""
    if g.shape != x.shape[-1:] or b.shape != x.shape[-1:] or not stored(x, g, b):
        return fn.layer_norm(x, g, b, eps)
    xp, real = array_module(x), real_dtype(x)
    y = xp.empty_like(x)
    mean, rstd = (xp.empty((*x.shape[:-1], 1), dtype=real) for _ in range(2))
    program = build("layer_norm", x.dtype, WIDTH=x.shape[-1])
    rows = mean.size
    launch(program, "layer_norm", warps_grid(rows), THREADS, [x, g, b, real(eps), np.int32(rows), y, mean, rstd])
    return y, LayerNormCache(x, g, mean, rstd)


def layer_norm_backward(dy: Array, cache: LayerNormCache) -> tuple[Array, Array, Array]:
    """Twin of `functions.layer_norm_backward`: dy (..., D)."""
    dy = array_module(dy).ascontiguousarray(dy)
    if not stored(dy, cache.x, cache.g) or dy.shape != cache.x.shape:
        return fn.layer_norm_backward(dy, cache)
    return _norm_backward(dy, cache, None)


def pre_norm(z: Array, g: Array, b: Array, eps: float = 1e-6) -> tuple[Array, LayerNormCache]:
    """Twin of `functions.pre_norm`: z (..., D), g (D,), b (D,)."""
    return layer_norm(z, g, b, eps)


def pre_norm_backward(dz: Array, dx: Array, cache: LayerNormCache) -> tuple[Array, Array, Array]:
    """Twin of `functions.pre_norm_backward`: dz, dx (..., D)."""
    dz, dx = (array_module(d).ascontiguousarray(d) for d in (dz, dx))
    if not stored(dz, dx, cache.x, cache.g) or not dz.shape == dx.shape == cache.x.shape:
        return fn.pre_norm_backward(dz, dx, cache)
    return _norm_backward(dx, cache, dz)


def _norm_backward(dy: Array, cache: LayerNormCache, more: Array | None) -> tuple[Array, Array, Array]:
    """(dx, dg, db); `more`, like dy, is added to dx."""
    x, g, mean, rstd = cache
    xp, width, rows = array_module(dy), x.shape[-1], mean.size
    warps = norm_warps(width, mean.itemsize)
    blocks = row_blocks(rows, warps, width)
    dx, partial = xp.empty_like(dy), xp.empty((blocks, 2 * width), dtype=mean.dtype)
    program = build("layer_norm", x.dtype, WIDTH=width)
    arguments = [dy, x, g, mean, rstd, more, np.int32(rows), dx, partial]
    shared = warps * 2 * width * mean.itemsize
    launch(program, "layer_norm_backward", (blocks,), warps * WARP, arguments, shared)
    sums = sum_rows(partial)
    return dx, sums[:width], sums[width:]


class FusedMlpCache(NamedTuple):
    """What the backward pass of the fused MLP needs."""

    fc1: LinearCache
    pre: Array  # (N, F)  what GELU got, without its bias: x w1, in the storage type
    bias: Array  # (F,)
    form: GeluForm
    dropout: AnyMask
    fc2: LinearCache


def mlp(
    x: Array,
    fc1_weight: Array,
    fc1_bias: Array,
    fc2_weight: Array,
    fc2_bias: Array,
    form: GeluForm = "tanh",
    rate: float = 0.0,
    key: AnyKey | None = None,
) -> tuple[Array, FusedMlpCache | MlpCache]:
    """Twin of `functions.mlp`: x (..., D), fc1_weight (D, F), fc2_weight (F, D)."""
    parameters = (fc1_weight, fc1_bias, fc2_weight, fc2_bias)
    shapes_fit = x.ndim > 1 and x.shape[-1:] == fc1_weight.shape[:1] and fc1_bias.shape == fc1_weight.shape[1:]
    if not shapes_fit or form not in ("tanh", "erf") or not stored(*parameters) or not like(x, fc1_weight):
        return fn.mlp(x, *parameters, form, rate, host_key(key))
    pre = product(rows_of(x), fc1_weight)
    h = array_module(pre).empty_like(pre)
    columns = Columns(pre, erf=form == "erf", eight=rate > 0.0 and key is not None)
    together = columns.vector == EACH  # a thread's columns are a block of the generator: the mask goes with GELU
    drawn = draws(pre, rate, 0.0, key)
    drawn = drawn if together else NO_DRAWS
    bits = drawn.bits(h)
    rows_of_image = np.int32(len(pre) // len(x))
    how = [drawn.address, np.int32(drawn.site), np.float32(drawn.rate), real_dtype(h)(drawn.scale), rows_of_image]
    columns.change("bias_gelu", [pre, fc1_bias, *how], (h, bits))
    h, mask = (h, Kept(bits, drawn.scale)) if together else dropout(h.reshape(len(x), -1), rate, key)
    y, fc2 = linear(h.reshape(*x.shape[:-1], -1), fc2_weight, fc2_bias)
    return y, FusedMlpCache(LinearCache(x, fc1_weight), pre, fc1_bias, form, mask, fc2)


def mlp_backward(dy: Array, cache: FusedMlpCache | MlpCache) -> tuple[Array, Array, Array, Array, Array]:
    """Twin of `functions.mlp_backward`: dy (..., D)."""
    if isinstance(cache, MlpCache):
        return fn.mlp_backward(dy, cache)
    dh, dfc2_weight, dfc2_bias = linear_backward(cast(dy, cache.pre.dtype), cache.fc2)
    dh, kept = rows_of(dh), cache.dropout  # an array of its own: linear_backward made it
    columns = Columns(dh, erf=cache.form == "erf", eight=isinstance(kept, Kept) and kept.bits is not None)
    if columns.vector != EACH or not isinstance(kept, Kept):
        dh, kept = dropout_backward(dh, kept), NOTHING_DROPPED
    scale = real_dtype(dh)(kept.scale)
    dfc1_bias = columns.sums("gelu_backward", [dh, cache.pre, cache.bias, kept.bits, scale])
    dx, dfc1_weight = products_backward(dh, cache.fc1)
    return cast(dx.reshape(cache.fc1.x.shape), dy.dtype), dfc1_weight, dfc1_bias, dfc2_weight, dfc2_bias
