"""Answers to notebooks/02_patches.ipynb."""

from __future__ import annotations

from typing import Any

import numpy as np

from minivit.arrays import Array
from minivit.functions import patchify, patchify_backward
from minivit.gradcheck.catalog import normal
from minivit.lessons.exercise import pair_exercise

Pair = tuple[int, int]


def corners(image_size: Pair, size: Pair, stride: Pair) -> list[Pair]:
    """The upper left pixel (row, column) of each patch that lies within the image, in reading order."""
    (H, W), (tall, wide), (down, across) = image_size, size, stride
    return [(top, left) for top in range(0, H - tall + 1, down) for left in range(0, W - wide + 1, across)]


def overlapping_patches(x: Array, size: Pair, stride: Pair) -> tuple[Array, Any]:
    """Cut patches y (B, N, P*P*C) of `size` out of x (B, C, H, W), one every `stride`. Returns y like x, and the cache.

    size and stride are (height, width); pixels that no whole patch reaches are left out.
    """
    B, (tall, wide) = x.shape[0], size
    patches = [x[:, :, i : i + tall, j : j + wide] for i, j in corners(x.shape[2:], size, stride)]
    return np.stack([np.moveaxis(p, 1, -1).reshape(B, -1) for p in patches], axis=1), (x.shape, size, stride)


def overlapping_patches_backward(dy: Array, cache: Any) -> Array:
    """Gradient dx (B, C, H, W) for dy (B, N, P*P*C): a pixel gets the sum over the patches that it lies in."""
    (B, C, H, W), (tall, wide), stride = cache
    dx = np.zeros((B, C, H, W), dy.dtype)
    for n, (i, j) in enumerate(corners((H, W), (tall, wide), stride)):
        dx[:, :, i : i + tall, j : j + wide] += np.moveaxis(dy[:, n].reshape(B, tall, wide, C), -1, 1)
    return dx


def patchify_padded(x: Array, patch_size: Pair) -> tuple[Array, Any]:
    """Cut x (B, C, H, W) of any H, W into patches y (B, N, P*P*C). Returns y like x, and the cache.

    Zeros fill the image up at the bottom and on the right until patch_size (height, width) divides it.
    """
    (H, W), (tall, wide) = x.shape[2:], patch_size
    y, cache = patchify(np.pad(x, ((0, 0), (0, 0), (0, -H % tall), (0, -W % wide))), patch_size)
    return y, (cache, (H, W))


def patchify_padded_backward(dy: Array, cache: Any) -> Array:
    """Gradient dx (B, C, H, W) for dy (B, N, P*P*C): what the zeros get is dropped."""
    patches, (H, W) = cache
    return patchify_backward(dy, patches)[:, :, :H, :W]


def shuffle(x: Array, order: Array) -> tuple[Array, Any]:
    """Rearrange the patches of x (B, N, D): y[b, i] = x[b, order[b, i]]. Returns y like x, and the cache.

    order (B, N) holds a permutation of 0 .. N - 1 for each image.
    """
    return np.take_along_axis(x, order[:, :, None], axis=1), order


def shuffle_backward(dy: Array, cache: Any) -> Array:
    """Gradient dx (B, N, D) for dy (B, N, D): each patch's gradient goes back to where the patch came from."""
    inverse = np.argsort(cache, axis=1)
    return np.take_along_axis(dy, inverse[:, :, None], axis=1)


_ORDER = np.array([[3, 0, 4, 1, 2], [1, 4, 0, 2, 3], [2, 3, 1, 4, 0]])

EXERCISES = {
    "2.1": pair_exercise(
        "patches that overlap",
        overlapping_patches,
        overlapping_patches_backward,
        (normal(1, 2, 3, 6, 7), (3, 3), (2, 2)),
        (normal(2, 1, 3, 7, 12), (4, 5), (3, 7)),  # all lengths differ; some columns lie in no patch
    ),
    "2.2": pair_exercise(
        "sides that the patch does not divide",
        patchify_padded,
        patchify_padded_backward,
        (normal(3, 2, 3, 5, 7), (4, 5)),  # what is missing is not what is left over, in either direction
        (normal(4, 1, 3, 4, 5), (2, 2)),
        (normal(5, 2, 1, 2, 3), (4, 3)),
    ),
    "2.3": pair_exercise("shuffled patches", shuffle, shuffle_backward, (normal(6, 3, 5, 4), _ORDER)),
}
