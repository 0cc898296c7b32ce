"""One encoder block: attention between the tokens, then an MLP in each; both add to a residual stream.

    z' = z  + drop_path(dropout(attention(layer_norm(z))))
    y  = z' + drop_path(dropout(mlp(layer_norm(z'))))

On the way back a residual sum hands its gradient to both sides, and where the branch left, both add up.

Where only the class token of the last block is read, the other tokens are needed as far as its attention, as keys
and values, and go no further.

Source: Dosovitskiy et al. 2020 (arXiv:2010.11929), eqs. 2-3 (pre-norm).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from minivit.arrays import Array
from minivit.functions import GeluForm
from minivit.functions.attention import MultiHeadAttentionCache
from minivit.functions.layer_norm import LayerNormCache
from minivit.functions.mlp import MlpCache
from minivit.functions.pooling import PoolingCache
from minivit.functions.residual import ResidualCache
from minivit.model.params import BlockParams
from minivit.randomness import Key

SITES = 5  # masks that a block draws, each at a site of its own


class BlockSettings(NamedTuple):
    """What a block needs to know beside its parameters."""

    heads: int
    gelu: GeluForm
    eps: float
    dropout: float
    drop_path: float


class BlockCache(NamedTuple):
    """What the backward pass needs: one cache for each step, in forward order."""

    norm1: LayerNormCache
    attention: MultiHeadAttentionCache
    first: PoolingCache | None  # None where all tokens come out
    residual1: ResidualCache
    norm2: LayerNormCache
    mlp: MlpCache
    residual2: ResidualCache


def block(
    z: Array, params: BlockParams, settings: BlockSettings, ops: Any, key: Key | None, tokens: int | None = None
) -> tuple[Array, BlockCache]:
    """Pass z (B, T, D) through one block. Returns y like z, and the cache. Without a key nothing is dropped.

    With `tokens`, y (B, tokens, D) holds the first ones alone; the others are attended to, and go no further.
    """
    p, rate, path_rate = params, settings.dropout, settings.drop_path
    # Sites: 0 and 1 the first branch's dropout and drop path, 2 the MLP's own dropout, 3 and 4 the second branch's.
    site = [None if key is None else key.at(key.site + i) for i in range(SITES)]

    x, norm1 = ops.pre_norm(z, p.norm1_gain, p.norm1_bias, settings.eps)
    x, attention = ops.multi_head_attention(
        x, p.qkv_weight, p.qkv_bias, p.out_weight, p.out_bias, settings.heads, tokens
    )
    z, first = (z, None) if tokens is None else ops.first_tokens(z, tokens)
    z, residual1 = ops.residual(z, x, rate, path_rate, site[0])

    x, norm2 = ops.pre_norm(z, p.norm2_gain, p.norm2_bias, settings.eps)
    x, mlp = ops.mlp(x, p.fc1_weight, p.fc1_bias, p.fc2_weight, p.fc2_bias, settings.gelu, rate, site[2])
    y, residual2 = ops.residual(z, x, rate, path_rate, site[3])
    return y, BlockCache(norm1, attention, first, residual1, norm2, mlp, residual2)


def block_backward(dy: Array, cache: BlockCache, ops: Any) -> tuple[Array, BlockParams]:
    """Gradients (dz, dparams) for dy (B, T, D), or (B, tokens, D): dz (B, T, D) like dy, dparams float32 or wider.

    Changes no argument.
    """
    dz, dx = ops.residual_backward(dy, cache.residual2)
    dx, dfc1_weight, dfc1_bias, dfc2_weight, dfc2_bias = ops.mlp_backward(dx, cache.mlp)
    dz, dnorm2_gain, dnorm2_bias = ops.pre_norm_backward(dz, dx, cache.norm2)

    dz, dx = ops.residual_backward(dz, cache.residual1)
    dx, dqkv_weight, dqkv_bias, dout_weight, dout_bias = ops.multi_head_attention_backward(dx, cache.attention)
    dz = dz if cache.first is None else ops.first_tokens_backward(dz, cache.first)
    dz, dnorm1_gain, dnorm1_bias = ops.pre_norm_backward(dz, dx, cache.norm1)
    return dz, BlockParams(
        norm1_gain=dnorm1_gain,
        norm1_bias=dnorm1_bias,
        qkv_weight=dqkv_weight,
        qkv_bias=dqkv_bias,
        out_weight=dout_weight,
        out_bias=dout_bias,
        norm2_gain=dnorm2_gain,
        norm2_bias=dnorm2_bias,
        fc1_weight=dfc1_weight,
        fc1_bias=dfc1_bias,
        fc2_weight=dfc2_weight,
        fc2_bias=dfc2_bias,
    )
