"""Pooling: from the last block's tokens to the one vector that the classifier reads, or to the first few tokens.

    class token      y = x_0                      dx_0 = dy, all other tokens 0
    first tokens     y = x_0 .. x_(n - 1)         the same, for n tokens
    mean             y = mean of all tokens       dx_t = dy / T for every token

The paper finds both equal, each with its own learning rate.

Source: Dosovitskiy et al. 2020 (arXiv:2010.11929), eq. 4 and App. D.3.
"""

from __future__ import annotations

from typing import NamedTuple

from minivit.arrays import Array, array_module, cast, wide


class PoolingCache(NamedTuple):
    """What the backward pass needs: a size, no array."""

    tokens: int  # T


def pool_class_token(x: Array) -> tuple[Array, PoolingCache]:
    """Take the first token of x (B, T, D). Returns y (B, D), a view of x, and the cache.

    Raises ValueError if x is not 3-D.
    """
    y, cache = first_tokens(x, 1)
    return y[:, 0, :], cache


def pool_class_token_backward(dy: Array, cache: PoolingCache) -> Array:
    """Gradient dx (B, T, D) like dy, for dy (B, D)."""
    return first_tokens_backward(dy[:, None, :], cache)


def first_tokens(x: Array, count: int) -> tuple[Array, PoolingCache]:
    """Take the first `count` tokens of x (B, T, D). Returns y (B, count, D), a view of x, and the cache.

    Raises ValueError if x is not 3-D or has fewer, or count is not positive.
    """
    _require_tokens("first_tokens", x)
    if not 1 <= count <= x.shape[1]:
        raise ValueError(f"first_tokens: count is {count}; x {x.shape} has {x.shape[1]} tokens, expected 1 to as many")
    return x[:, :count, :], PoolingCache(x.shape[1])


def first_tokens_backward(dy: Array, cache: PoolingCache) -> Array:
    """Gradient dx (B, T, D) like dy, for dy (B, count, D)."""
    batch, count, width = dy.shape
    dx = array_module(dy).zeros((batch, cache.tokens, width), dtype=dy.dtype)
    dx[:, :count, :] = dy
    return dx


def pool_mean(x: Array) -> tuple[Array, PoolingCache]:
    """Average x (B, T, D) over its tokens. Returns y (B, D) like x, and the cache.

    Raises ValueError if x is not 3-D.
    """
    _require_tokens("pool_mean", x)
    return cast(array_module(x).mean(wide(x), axis=1), x.dtype), PoolingCache(x.shape[1])


def pool_mean_backward(dy: Array, cache: PoolingCache) -> Array:
    """Gradient dx (B, T, D) like dy, for dy (B, D). A read-only view: every token gets the same."""
    batch, width = dy.shape
    dx = cast(dy / cache.tokens, dy.dtype)  # a quotient of bfloat16 is float32 in NumPy 2.1
    return array_module(dy).broadcast_to(dx[:, None, :], (batch, cache.tokens, width))


def _require_tokens(name: str, x: Array) -> None:
    if x.ndim != 3:
        raise ValueError(f"{name}: x {x.shape} needs the 3 axes (B, T, D)")
