"""Twins of dropout and the residual sum: masks are drawn inside the kernel, at their address.

They are the masks that NumPy draws for the readable functions, bit for bit; none is kept or copied.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minivit import functions as fn
from minivit.arrays import Array, array_module
from minivit.functions.dropout import DropoutCache
from minivit.functions.residual import ResidualCache
from minivit.ops.cuda.launch import launch, real_dtype, stored
from minivit.ops.cuda.source import build
from minivit.randomness import PURPOSES, Key

_THREADS, _EACH = 256, 8  # a thread draws one block of the generator: eight numbers


class DeviceKey(NamedTuple):
    """A `Key` whose seed, purpose, step and epoch lie on the device: the host need not know them."""

    address: Array  # (4,) uint64 on the device, see `words`
    site: int = 0

    def at(self, site: int) -> DeviceKey:
        """The same key at another site."""
        return self._replace(site=site)


AnyKey = Key | DeviceKey


class Masks(NamedTuple):
    """What draws the masks of a residual sum again."""

    address: Array | None  # (4,) uint64 on the device; None: nothing was dropped
    site: int
    rate: float
    path_rate: float


_NOTHING_DROPPED = Masks(None, 0, 0.0, 0.0)
AddressedMask = Masks | DropoutCache


def words(key: Key) -> Array:
    """The part of a key that all sites of a step share, (4,) uint64 on the host: seed, purpose, step, epoch."""
    return np.array([key.seed, PURPOSES.index(key.purpose), key.step, key.epoch], np.uint64)


def residual(
    z: Array, x: Array, rate: float, path_rate: float, key: AnyKey | None
) -> tuple[Array, Masks | ResidualCache]:
    """Twin of `functions.residual`: z + drop_path(dropout(x)) for z, x (B, ...)."""
    xp = array_module(z)
    z, x = xp.ascontiguousarray(z), xp.ascontiguousarray(x)
    if z.shape != x.shape or not stored(z, x):
        return fn.residual(z, x, rate, path_rate, _host(key))
    masks = _masks(x, rate, path_rate, key)
    return _apply(z, x, masks), masks


def residual_backward(dy: Array, cache: Masks | ResidualCache) -> tuple[Array, Array]:
    """Twin of `functions.residual_backward`: (dz, dx) for dy (B, ...); dz is dy itself."""
    if isinstance(cache, ResidualCache):
        return fn.residual_backward(dy, cache)
    if cache.address is None:
        return dy, dy
    return dy, _apply(None, array_module(dy).ascontiguousarray(dy), cache)


def dropout(x: Array, rate: float, key: AnyKey | None) -> tuple[Array, AddressedMask]:
    """Twin of `functions.dropout`: x (any shape)."""
    if key is None or rate == 0.0:
        return x, DropoutCache(None, rate)
    x = array_module(x).ascontiguousarray(x)
    if not stored(x):
        return fn.dropout(x, rate, _host(key))
    masks = _masks(x, rate, 0.0, key)
    return _apply(None, x, masks), masks


def dropout_backward(dy: Array, cache: AddressedMask) -> Array:
    """Twin of `functions.dropout_backward`: dy (the shape of x)."""
    if isinstance(cache, DropoutCache):
        return fn.dropout_backward(dy, cache)
    return _apply(None, array_module(dy).ascontiguousarray(dy), cache)


def _host(key: AnyKey | None) -> Key | None:
    """The key for the readable functions, which draw on the host. Raises TypeError where it is on the device."""
    if isinstance(key, DeviceKey):
        raise TypeError("a key on the device draws masks for CuPy arrays of bfloat16, float32 or float64 alone")
    return key


def _masks(x: Array, rate: float, path_rate: float, key: AnyKey | None) -> Masks:
    for name, value in (("rate", rate), ("path_rate", path_rate)):
        if not 0.0 <= value < 1.0:
            raise ValueError(f"dropout: {name} {value} is not in [0, 1); a rate of 1 would drop everything")
    if key is None or rate == path_rate == 0.0:
        return _NOTHING_DROPPED
    address = key.address if isinstance(key, DeviceKey) else array_module(x).asarray(words(key))
    return Masks(address, key.site, rate, path_rate)


def _apply(z: Array | None, x: Array, masks: Masks) -> Array:
    x = x if stored(x) else x.copy()  # a view may begin anywhere; a copy begins where the kernel reads 16 bytes
    y, real = array_module(x).empty_like(x), real_dtype(x)
    rates = [f(r) for r in (masks.rate, masks.path_rate) for f in (np.float32, lambda r: real(1.0 / (1.0 - r)))]
    size = [np.int64(x.size), np.int32(x.size // x.shape[0])]
    arguments = [z, x, masks.address, np.int32(masks.site), *rates, *size, y]
    blocks = -(-x.size // (_THREADS * _EACH))
    launch(build("residual", x.dtype.name), "residual", (blocks,), _THREADS, arguments)
    return y
