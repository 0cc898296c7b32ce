"""Twins of dropout and the residual sum: masks are drawn inside the kernel, at their address.

They are the masks that NumPy draws for the readable functions, bit for bit. A bit a number is kept for the way back.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minivit import functions as fn
from minivit.arrays import Array, array_module
from minivit.functions.dropout import DropoutCache
from minivit.functions.residual import ResidualCache
from minivit.ops.cuda.launch import aligned, launch, real_dtype, stored
from minivit.ops.cuda.source import build
from minivit.randomness import PURPOSES, Key

EACH = 8  # numbers of a thread: a block of the generator, and a byte of bits
_THREADS = 256


class DeviceKey(NamedTuple):
    """A `Key` of which all but the site lies on the device: the host need not know it."""

    address: Array  # (5,) uint64 on the device, see `words`
    site: int = 0

    def at(self, site: int) -> DeviceKey:
        """The same key at another site."""
        return self._replace(site=site)


AnyKey = Key | DeviceKey


class Kept(NamedTuple):
    """Which numbers were kept, a bit each, and what those were multiplied by."""

    bits: Array | None  # uint8, a byte for 8 numbers that lie side by side; None: nothing was dropped
    scale: float


class Draws(NamedTuple):
    """Where masks are drawn, and how much they drop."""

    address: Array | None  # (5,) uint64 on the device, see `words`; None: nothing is dropped
    site: int
    rate: float
    path_rate: float = 0.0

    @property
    def scale(self) -> float:
        """What is kept is multiplied by it."""
        return 1.0 / ((1.0 - self.rate) * (1.0 - self.path_rate))

    def bits(self, x: Array) -> Array | None:
        """Room for a bit of each number of x."""
        return None if self.address is None else array_module(x).empty(-(-x.size // 8), dtype=np.uint8)


NO_DRAWS, NOTHING_DROPPED = Draws(None, 0, 0.0), Kept(None, 1.0)
AnyMask = Kept | DropoutCache


def words(key: Key) -> Array:
    """What all sites of a key share, (5,) uint64 on the host: seed, purpose, step, epoch, image."""
    return np.array([key.seed, PURPOSES.index(key.purpose), key.step, key.epoch, key.image], np.uint64)


def residual(
    z: Array, x: Array, rate: float, path_rate: float, key: AnyKey | None
) -> tuple[Array, Kept | ResidualCache]:
    """Twin of `functions.residual`: z + drop_path(dropout(x)) for z, x (B, ...)."""
    xp = array_module(z)
    z, x = xp.ascontiguousarray(z), xp.ascontiguousarray(x)
    if z.shape != x.shape or not stored(z, x):
        return fn.residual(z, x, rate, path_rate, host_key(key))
    return _apply(z, x, draws(x, rate, path_rate, key))


def residual_backward(dy: Array, cache: Kept | ResidualCache) -> tuple[Array, Array]:
    """Twin of `functions.residual_backward`: (dz, dx) for dy (B, ...); dz is dy itself."""
    if isinstance(cache, ResidualCache):
        return fn.residual_backward(dy, cache)
    return dy, _apply_backward(dy, cache)


def dropout(x: Array, rate: float, key: AnyKey | None) -> tuple[Array, AnyMask]:
    """Twin of `functions.dropout`: x (any shape)."""
    drawn = draws(x, rate, 0.0, key)
    if drawn.address is None:
        return x, DropoutCache(None, rate)
    rows = array_module(x).ascontiguousarray(x)  # of a number alone it makes an array of one
    return _apply(None, rows, drawn) if x.ndim and stored(rows) else fn.dropout(x, rate, host_key(key))


def dropout_backward(dy: Array, cache: AnyMask) -> Array:
    """Twin of `functions.dropout_backward`: dy (the shape of x)."""
    if isinstance(cache, DropoutCache):
        return fn.dropout_backward(dy, cache)
    return _apply_backward(dy, cache)


def host_key(key: AnyKey | None) -> Key | None:
    """The key for the readable functions, which draw on the host. Raises TypeError where it is on the device."""
    if isinstance(key, DeviceKey):
        raise TypeError("a key on the device draws masks for CuPy arrays of bfloat16, float32 or float64 alone")
    return key


def draws(x: Array, rate: float, path_rate: float, key: AnyKey | None) -> Draws:
    """Where masks of x are drawn. Raises ValueError for a rate that is not in [0, 1)."""
    for name, value in (("rate", rate), ("path_rate", path_rate)):
        if not 0.0 <= value < 1.0:
            raise ValueError(f"dropout: {name} {value} is not in [0, 1); a rate of 1 would drop everything")
    if key is None or rate == path_rate == 0.0:
        return NO_DRAWS
    address = key.address if isinstance(key, DeviceKey) else array_module(x).asarray(words(key))
    return Draws(address, key.site, rate, path_rate)


def _apply(z: Array | None, x: Array, drawn: Draws) -> tuple[Array, Kept]:
    y, bits = array_module(x).empty_like(x), drawn.bits(x)
    how = [np.int32(drawn.site), np.float32(drawn.rate), np.float32(drawn.path_rate), real_dtype(x)(drawn.scale)]
    size = [np.int64(x.size), np.int32(x.size // x.shape[0])]
    _launch("residual", x, [z, x, drawn.address, *how, *size, y, bits])
    return y, Kept(bits, drawn.scale)


def _apply_backward(dy: Array, kept: Kept) -> Array:
    if kept.bits is None:
        return dy
    xp = array_module(dy)
    dy = aligned(dy)
    dx = xp.empty_like(dy)
    _launch("residual_backward", dy, [dy, kept.bits, real_dtype(dy)(kept.scale), np.int64(dy.size), dx])
    return dx


def _launch(kernel: str, x: Array, arguments: list[Any]) -> None:
    blocks = -(-x.size // (_THREADS * EACH))
    launch(build("residual", x.dtype), kernel, (blocks,), _THREADS, arguments)
