"""Twin of multi-head attention: the projections by cuBLAS, and between them the kernel or the products that fit."""

from __future__ import annotations

from typing import NamedTuple

from minivit import functions as fn
from minivit.arrays import Array, array_module, cast
from minivit.functions.attention import MultiHeadAttentionCache
from minivit.functions.linear import LinearCache
from minivit.functions.pooling import PoolingCache
from minivit.ops.cuda import attention_by_products as by_products
from minivit.ops.cuda import attention_in_tiles as in_tiles
from minivit.ops.cuda.launch import like, stored
from minivit.ops.cuda.products import product
from minivit.ops.cuda.twins import linear, linear_backward, products_backward, rows_of


class FusedAttentionCache(NamedTuple):
    """What the backward pass needs."""

    qkv: LinearCache
    attention: in_tiles.InTiles | by_products.ByProducts
    out: LinearCache


def multi_head_attention(
    x: Array,
    qkv_weight: Array,
    qkv_bias: Array,
    out_weight: Array,
    out_bias: Array,
    heads: int,
    queries: int | None = None,
) -> tuple[Array, FusedAttentionCache | MultiHeadAttentionCache]:
    """Twin of `functions.multi_head_attention`: x (B, T, D), qkv_weight (D, 3 D), out_weight (D, D).

    Attention itself is computed for all tokens in any case: what `queries` saves comes after it.
    """
    parameters = (qkv_weight, qkv_bias, out_weight, out_bias)
    shapes_fit = (
        x.ndim == 3 and heads >= 1 and x.shape[-1] % heads == 0
        and qkv_weight.shape == (x.shape[-1], 3 * x.shape[-1]) and qkv_bias.shape == qkv_weight.shape[1:]
        and (queries is None or 1 <= queries <= x.shape[1])
    )  # fmt: skip
    if not shapes_fit or not stored(*parameters) or not like(x, qkv_weight):
        return fn.multi_head_attention(x, *parameters, heads, queries)
    attention = in_tiles.attention if in_tiles.fits(x, heads) else by_products.attention
    qkv = product(rows_of(x), qkv_weight).reshape(*x.shape[:-1], -1)
    y, between = attention(qkv, qkv_bias, heads)
    y, out = linear(array_module(y).ascontiguousarray(y[:, :queries]), out_weight, out_bias)
    return y, FusedAttentionCache(LinearCache(x, qkv_weight), between, out)


def multi_head_attention_backward(
    dy: Array, cache: FusedAttentionCache | MultiHeadAttentionCache
) -> tuple[Array, Array, Array, Array, Array]:
    """Twin of `functions.multi_head_attention_backward`: dy (B, T, D), or (B, queries, D)."""
    if isinstance(cache, MultiHeadAttentionCache):
        return fn.multi_head_attention_backward(dy, cache)
    dtype, x = dy.dtype, cache.qkv.x
    dy, dout_weight, dout_bias = linear_backward(cast(dy, x.dtype), cache.out)
    if dy.shape[1] < x.shape[1]:
        dy = fn.first_tokens_backward(dy, PoolingCache(x.shape[1]))
    if isinstance(cache.attention, in_tiles.InTiles):
        dqkv, dqkv_bias = in_tiles.attention_backward(dy, cache.attention)
    else:
        dqkv, dqkv_bias = by_products.attention_backward(dy, cache.attention)
    dx, dqkv_weight = products_backward(rows_of(dqkv), cache.qkv)
    return cast(dx.reshape(x.shape), dtype), dqkv_weight, dqkv_bias, dout_weight, dout_bias
