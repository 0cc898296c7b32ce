"""Dropout, and its coarse form drop path (stochastic depth).

    y = x * mask / (1 - rate)       mask is 0 with probability `rate`, else 1
    dx = dy * mask / (1 - rate)     with the same mask

Dropout draws a mask entry per number, drop path one per image: there it takes out a whole residual
branch. Dividing by the share that is kept leaves the mean of y at x. The mask is drawn at an address
(`minivit.randomness.Key`), so the same call gives the same mask, and two masks never depend on each other. Each image
has its own place there: a batch in parts (`key.image` is a part's first) is dropped from like the whole.

Source: Srivastava et al. 2014, JMLR 15; Huang et al. 2016 (arXiv:1603.09382), section 3.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minivit.arrays import Array, array_module, cast, require_floats
from minivit.randomness import Key, uniform


class DropoutCache(NamedTuple):
    """What the backward pass needs."""

    mask: Array | None  # bool, broadcasts over x; None: nothing was dropped, y is x
    rate: float


def dropout(x: Array, rate: float, key: Key | None) -> tuple[Array, DropoutCache]:
    """Zero a share `rate` of the numbers of x (any shape). Returns y like x, and the cache.

    With rate 0 or without a key (evaluation) y is x itself. Raises ValueError if rate is not in [0, 1).
    """
    return _drop(x, rate, key, x.shape)


def dropout_backward(dy: Array, cache: DropoutCache) -> Array:
    """Gradient dx like dy, for dy (the shape of x). Changes no argument."""
    return _scaled(dy, cache)


def drop_path(x: Array, rate: float, key: Key | None) -> tuple[Array, DropoutCache]:
    """Zero a share `rate` of the images of x (B, ...), each as a whole. Returns y like x, and the cache.

    With rate 0 or without a key (evaluation) y is x itself. Raises ValueError if rate is not in [0, 1).
    """
    return _drop(x, rate, key, (x.shape[0], *(1,) * (x.ndim - 1)))


def drop_path_backward(dy: Array, cache: DropoutCache) -> Array:
    """Gradient dx like dy, for dy (B, ...). Changes no argument."""
    return _scaled(dy, cache)


def _drop(x: Array, rate: float, key: Key | None, mask_shape: tuple[int, ...]) -> tuple[Array, DropoutCache]:
    if not 0.0 <= rate < 1.0:
        raise ValueError(f"dropout: rate {rate} is not in [0, 1); a rate of 1 would drop everything")
    if rate == 0.0 or key is None:
        return x, DropoutCache(None, rate)
    require_floats(x)
    kept = uniform(key, mask_shape) >= np.float32(rate)
    cache = DropoutCache(array_module(x).asarray(kept), rate)  # drawn on the host: equal on every device
    return _scaled(x, cache), cache


def _scaled(x: Array, cache: DropoutCache) -> Array:
    if cache.mask is None:
        return x
    y = x * cast(cache.mask, x.dtype)
    y *= 1.0 / (1.0 - cache.rate)
    return y
