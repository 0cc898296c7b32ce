"""Patches: an image becomes a row of flattened squares, and back.

    x (B, C, H, W)  ->  y (B, N, P*P*C),   N = (H / P) * (W / P)

Patches run row by row over the image; inside a patch the order is (row, column, channel), as in the
paper's x_p and in Google's patch kernels. Both directions only move numbers, so each is the other's
inverse and, being a permutation, also the other's backward pass.

Source: Dosovitskiy et al. 2020 (arXiv:2010.11929), section 3.1.
"""

from __future__ import annotations

from typing import NamedTuple

from minivit.arrays import Array, array_module

Size = tuple[int, int]


class PatchesCache(NamedTuple):
    """What the backward pass of either direction needs: sizes only, no array."""

    image_shape: tuple[int, int, int, int]  # (B, C, H, W)
    patch_size: Size  # (height, width)


def patchify(x: Array, patch_size: Size) -> tuple[Array, PatchesCache]:
    """Cut x (B, C, H, W) into patches y (B, N, P*P*C). Returns y like x, and the cache.

    Raises ValueError if x is not 4-D or the patch (height, width) does not divide the image.
    """
    xp = array_module(x)
    if x.ndim != 4:
        raise ValueError(f"patchify: x {x.shape} needs the 4 axes (B, C, H, W)")
    batch, channels, height, width = x.shape
    rows, columns = _grid((height, width), patch_size)
    tall, wide = patch_size
    y = xp.reshape(x, (batch, channels, rows, tall, columns, wide))
    y = xp.permute_dims(y, (0, 2, 4, 3, 5, 1))  # B, rows, columns, tall, wide, C
    y = xp.reshape(y, (batch, rows * columns, tall * wide * channels))
    return y, PatchesCache((batch, channels, height, width), patch_size)


def patchify_backward(dy: Array, cache: PatchesCache) -> Array:
    """Gradient dx (B, C, H, W) for dy (B, N, P*P*C): every number goes back where it came from."""
    return unpatchify(dy, cache.image_shape[2:], cache.patch_size)[0]


def unpatchify(x: Array, image_size: Size, patch_size: Size) -> tuple[Array, PatchesCache]:
    """Lay patches x (B, N, P*P*C) out as an image y (B, C, H, W). Returns y like x, and the cache.

    Raises ValueError if x is not 3-D or does not hold the patches of such an image.
    """
    xp = array_module(x)
    rows, columns = _grid(image_size, patch_size)
    tall, wide = patch_size
    if x.ndim != 3 or x.shape[1] != rows * columns or x.shape[2] % (tall * wide):
        raise ValueError(
            f"unpatchify: x {x.shape} needs shape (B, {rows * columns}, {tall * wide} * C) for image size "
            f"{image_size} and patch size {patch_size}"
        )
    batch, channels = x.shape[0], x.shape[2] // (tall * wide)
    y = xp.reshape(x, (batch, rows, columns, tall, wide, channels))
    y = xp.permute_dims(y, (0, 5, 1, 3, 2, 4))  # B, C, rows, tall, columns, wide
    y = xp.reshape(y, (batch, channels, *image_size))
    return y, PatchesCache((batch, channels, *image_size), patch_size)


def unpatchify_backward(dy: Array, cache: PatchesCache) -> Array:
    """Gradient dx (B, N, P*P*C) for dy (B, C, H, W)."""
    return patchify(dy, cache.patch_size)[0]


def _grid(image_size: Size, patch_size: Size) -> Size:
    """The number of patches (rows, columns) of an image (H, W)."""
    for name, size in (("image size", image_size), ("patch size", patch_size)):
        if not isinstance(size, tuple | list) or len(size) != 2:
            raise ValueError(f"{name} is {size!r}; expected (height, width), such as (4, 4)")
    (height, width), (tall, wide) = image_size, patch_size
    if tall < 1 or wide < 1:
        raise ValueError(f"patch size is {patch_size}; expected pixels, 1 or more of each, such as (4, 4)")
    if height % tall or width % wide:
        raise ValueError(f"patch size {patch_size} does not divide image size {image_size} (height, width)")
    return height // tall, width // wide
