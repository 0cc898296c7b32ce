"""The residual stream: where a branch leaves it, normalised, and where what the branch found is added.

    leaves    x = layer_norm(z)                       dz = dz + layer_norm_backward(dx)
    joins     y = z + drop_path(dropout(x))           dz = dy,   dx = dropout_backward(drop_path_backward(dy))

The gradient reaches z unchanged: however deep the model, some path to its first layer has no weight on it.
Where z goes two ways, on and into a branch, what comes back from both adds up.

Source: He et al. 2015 (arXiv:1512.03385), eq. 1; the norm before the branch and dropout at its end as in Dosovitskiy
et al. 2020 (arXiv:2010.11929), eqs. 2-3 and App. B.1.
"""

from __future__ import annotations

from typing import NamedTuple

from minivit.arrays import Array
from minivit.functions.dropout import DropoutCache, drop_path, drop_path_backward, dropout, dropout_backward
from minivit.functions.layer_norm import LayerNormCache, layer_norm, layer_norm_backward
from minivit.randomness import Key


class ResidualCache(NamedTuple):
    """What the backward pass needs."""

    dropout: DropoutCache
    drop_path: DropoutCache


def pre_norm(z: Array, g: Array, b: Array, eps: float = 1e-6) -> tuple[Array, LayerNormCache]:
    """Layer norm of the stream z (..., D) where a branch leaves it: x = layer_norm(z), with gain g and bias b (D,).

    Returns x like z, and the cache. Raises ValueError if g or b is not of shape (D,).
    """
    return layer_norm(z, g, b, eps)


def pre_norm_backward(dz: Array, dx: Array, cache: LayerNormCache) -> tuple[Array, Array, Array]:
    """Gradients (dz, dg, db) for both ways z went: dz (..., D) of the stream, dx (..., D) of the branch.

    The first is the stream's before the branch left it, like dz; dg, db are float32 or wider. Changes no argument.
    """
    through_branch, dg, db = layer_norm_backward(dx, cache)
    return dz + through_branch, dg, db


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
