"""The two ends of a step on the device: images from bytes to patches, and the optimiser's update."""

from __future__ import annotations

from typing import Any

import numpy as np

from minivit.arrays import Array, array_module
from minivit.ops.cuda.launch import launch
from minivit.ops.cuda.source import build

_THREADS, _BLOCKS = 256, 8 * 132  # an H100 has 132 multiprocessors with room for eight such blocks each


def augmented_patches(
    pictures: Array,
    index: Array,
    moves: Array,
    scale: Array,
    shift: Array,
    padding: int,
    patch_size: tuple[int, int],
    dtype: Any,
) -> Array:
    """Patches (B, N, P*P*C) of `dtype` of pictures (all, C, H, W) uint8 at index (B,) int32.

    moves (B, 3) int32 holds each image's crop and flip, see `data.augment.crop_and_flip_moves`; scale and shift (C,)
    normalise. Twin of `random_crop_and_flip`, `normalise` and `patchify`, one after another.
    """
    xp = array_module(pictures)
    _, channels, height, width = pictures.shape
    tall, wide = patch_size
    shape = (len(index), (height // tall) * (width // wide), tall * wide * channels)
    patches = xp.empty(shape, dtype=dtype)
    sizes = {"CHANNELS": channels, "HEIGHT": height, "COLUMNS": width, "PATCH_ROWS": tall, "PATCH_COLUMNS": wide}
    program = build("augment", dtype, **sizes)
    arguments = [pictures, index, moves, scale, shift, np.int32(len(index)), np.int32(padding), patches]
    launch(program, "augment", (-(-patches.size // _THREADS),), _THREADS, arguments)
    return patches


class AdamW:
    """AdamW with clipping on flat buffers: three launches, whatever the number of tensors."""

    def __init__(self, rates: Array, step: Array, beta1: float, beta2: float, eps: float, decay: float, clip: float):
        """rates (steps, 3): see `adamw.cu`; step (1,) int64: the next step's number. Both on the device."""
        self.rates, self.step = rates, step
        real = rates.dtype.type
        self.numbers = [real(x) for x in (beta1, beta2, 1 - beta1, 1 - beta2, eps, decay)]
        self.clip = real(clip)

    def __call__(
        self, params: Array, gradient: Array, first: Array, second: Array, copy: Array | None, decayed: int
    ) -> Array:
        """Update params, first, second (size,) by gradient, and copy (size,) where given; returns the norm (1,)."""
        found = gradient_norm(gradient, self.clip)
        size, storage = params.size, (params if copy is None else copy).dtype
        sizes = [np.int64(decayed), np.int64(size)]
        arguments = [params, gradient, first, second, copy, self.rates, self.step, found, *self.numbers, *sizes]
        launch(build("adamw", storage), "adamw", (-(-size // _THREADS),), _THREADS, arguments)
        self.step += 1
        return found[0:1]


def gradient_norm(gradient: Array, limit: Any) -> Array:
    """(norm, factor) of gradient (size,): its L2 norm, and what brings it down to `limit` (0: nothing does)."""
    xp, dtype = array_module(gradient), gradient.dtype
    blocks = min(_BLOCKS, -(-gradient.size // _THREADS))
    partial, found = xp.empty(blocks, dtype=dtype), xp.empty(2, dtype=dtype)
    program = build("adamw", dtype)
    launch(program, "sum_squares", (blocks,), _THREADS, [gradient, np.int64(gradient.size), partial])
    launch(program, "clip_factor", (1,), 32, [partial, np.int32(blocks), limit, found])
    return found
