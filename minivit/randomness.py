"""Randomness that is addressed, not remembered.

Every random number of minivit belongs to an address: (seed, purpose, epoch, step, site). Philox, a
counter-based generator, is keyed by the first two and its counter starts at the other three, so the
numbers at one address never depend on what was drawn elsewhere. Nothing has to be saved at a
checkpoint, a resumed run draws what the uninterrupted one would have drawn, a backward pass can
draw the mask of its forward pass again, and an image has the same masks in whatever parts, on whatever
device its batch is computed.

Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3" (Philox4x64-10).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

# The order is part of every seed's meaning: append, never reorder.
PURPOSES = ("init", "shuffle", "augment", "dropout", "shapes", "split")


class Key(NamedTuple):
    """The address of a stream of random numbers; each field but `purpose` is an integer >= 0."""

    seed: int
    purpose: str  # one of PURPOSES
    epoch: int = 0
    step: int = 0
    site: int = 0  # which tensor, layer or sample within the step
    image: int = 0  # of a batch that is computed in parts, the first image of this part: see `uniform`

    def at(self, site: int) -> Key:
        """The same key at another site."""
        return self._replace(site=site)


def generator(key: Key, block: int = 0) -> np.random.Generator:
    """Return a fresh NumPy generator at the start of `key`'s stream, or at a later block, each of four 64-bit words.

    Raises ValueError for an unknown purpose, or a number below 0 or of 64 bits and more.
    """
    if key.purpose not in PURPOSES:
        raise ValueError(f"randomness: purpose {key.purpose!r} is not one of {', '.join(PURPOSES)}")
    for name in ("seed", "epoch", "step", "site", "image"):
        number = getattr(key, name)
        if not isinstance(number, int | np.integer) or not 0 <= number < 2**64:
            raise ValueError(f"randomness: {name} {number!r} is not an integer from 0 to 2**64 - 1")
    # The lowest counter word counts the draws; 2**64 blocks pass before a stream meets its neighbour.
    return np.random.Generator(
        np.random.Philox(
            key=np.array([key.seed, PURPOSES.index(key.purpose)], np.uint64),
            counter=np.array([block, key.site, key.step, key.epoch], np.uint64),
        )
    )


def uniform(key: Key, shape: tuple[int, ...]) -> np.ndarray:
    """Return float32 numbers in [0, 1) of `shape` (B, ...), for the images key.image, key.image + 1, ... of a batch.

    They are the same whether the batch is drawn at once or in parts. Raises ValueError as `generator`.
    """
    # As Python's integers, which do not overflow. A block makes eight numbers.
    block, passed_over = divmod(int(key.image) * math.prod(map(int, shape[1:])), 8)
    if block >= 2**64:
        raise ValueError(f"randomness: image {key.image} of {shape[1:]} numbers lies beyond the stream's 2**67")
    drawn = generator(key, block).random(passed_over + math.prod(shape), dtype=np.float32)
    return drawn[passed_over:].reshape(shape)
