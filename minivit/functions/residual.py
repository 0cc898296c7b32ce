"""The residual sum of a block: the stream goes on, and a branch adds what it found.

    y = z + drop_path(dropout(x))
    dz = dy                          dx = dropout_backward(drop_path_backward(dy))

The gradient reaches z unchanged: however deep the model, some path to its first layer has no weight on it.

Source: He et al. 2015 (arXiv:1512.03385), eq. 1; dropout at each branch's end as in Dosovitskiy et al. 2020
(arXiv:2010.11929), App. B.1.
"""

from __future__ import annotations

from typing import NamedTuple

from minivit.arrays import Array
from minivit.functions.dropout import DropoutCache, drop_path, drop_path_backward, dropout, dropout_backward
from minivit.randomness import Key


class ResidualCache(NamedTuple):
    """What the backward pass needs."""

    dropout: DropoutCache
    drop_path: DropoutCache


def residual(z: Array, x: Array, rate: float, path_rate: float, key: Key | None) -> tuple[Array, ResidualCache]:
    """Add a branch's x (B, ...) to the stream z (B, ...). Returns y like z, and the cache.

    `rate` of x's numbers are dropped, by a mask at `key`'s site, and `path_rate` of the images keep no branch at
    all, by a mask at the next site; without a key (evaluation) nothing is. Raises ValueError if the shapes
    differ or a rate is not in [0, 1).
    """
    if z.shape != x.shape:
        raise ValueError(f"residual: the stream z {z.shape} and the branch x {x.shape} need the same shape")
    x, dropped = dropout(x, rate, key)
    x, path = drop_path(x, path_rate, None if key is None else key.at(key.site + 1))
    return z + x, ResidualCache(dropped, path)


def residual_backward(dy: Array, cache: ResidualCache) -> tuple[Array, Array]:
    """Gradients (dz, dx) for dy (B, ...): dz is dy itself, dx like dy. Changes no argument."""
    return dy, dropout_backward(drop_path_backward(dy, cache.drop_path), cache.dropout)


def add(dz: Array, dx: Array) -> Array:
    """What reaches a stream that went two ways, on and into a branch: the sum of both gradients, dz and dx (B, ...)."""
    return dz + dx
