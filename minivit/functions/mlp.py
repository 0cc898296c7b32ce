"""The MLP of an encoder block: each token alone, D -> F -> D, with GELU between.

    h = gelu(x w1 + b1)        y = dropout(h) w2 + b2

Source: Dosovitskiy et al. 2020 (arXiv:2010.11929), eq. 3 and App. B.1 (dropout after every dense layer;
the one after the second is the block's, as for attention).
"""

from __future__ import annotations

from typing import NamedTuple

from minivit.arrays import Array
from minivit.functions.dropout import DropoutCache, dropout, dropout_backward
from minivit.functions.gelu import GeluCache, GeluForm, gelu, gelu_backward
from minivit.functions.linear import LinearCache, linear, linear_backward
from minivit.randomness import Key


class MlpCache(NamedTuple):
    """What the backward pass needs: one cache for each step, in forward order."""

    fc1: LinearCache
    gelu: GeluCache
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
) -> tuple[Array, MlpCache]:
    """Map x (..., D) by fc1_weight (D, F), GELU, dropout, fc2_weight (F, D). Returns y like x, and the cache."""
    h, fc1_cache = linear(x, fc1_weight, fc1_bias)
    h, gelu_cache = gelu(h, form)
    h, dropout_cache = dropout(h, rate, key)
    y, fc2_cache = linear(h, fc2_weight, fc2_bias)
    return y, MlpCache(fc1_cache, gelu_cache, dropout_cache, fc2_cache)


def mlp_backward(dy: Array, cache: MlpCache) -> tuple[Array, Array, Array, Array, Array]:
    """Gradients (dx, dfc1_weight, dfc1_bias, dfc2_weight, dfc2_bias) for dy (..., D). Changes no argument."""
    dh, dfc2_weight, dfc2_bias = linear_backward(dy, cache.fc2)
    dh = dropout_backward(dh, cache.dropout)
    dh = gelu_backward(dh, cache.gelu)
    dx, dfc1_weight, dfc1_bias = linear_backward(dh, cache.fc1)
    return dx, dfc1_weight, dfc1_bias, dfc2_weight, dfc2_bias
