"""Wrong answers to the exercises of 02."""

import numpy as np

from minivit.functions import patchify, patchify_backward
from minivit.lessons.answers.n02_patches import (
    corners,
    overlapping_patches,
    overlapping_patches_backward,
    patchify_padded,
    patchify_padded_backward,
    shuffle,
    shuffle_backward,
)


def overlap_assigned(dy, cache):
    (B, C, H, W), (tall, wide), stride = cache
    dx = np.zeros((B, C, H, W), dy.dtype)
    for n, (i, j) in enumerate(corners((H, W), (tall, wide), stride)):
        dx[:, :, i : i + tall, j : j + wide] = np.moveaxis(dy[:, n].reshape(B, tall, wide, C), -1, 1)
    return dx


def overlap_averaged(dy, cache):
    count = overlapping_patches_backward(np.ones_like(dy), cache)
    return overlapping_patches_backward(dy, cache) / np.maximum(count, 1)


def overlap_counted(dy, cache):
    return overlapping_patches_backward(np.ones_like(dy), cache)


def overlap_channels_first(dy, cache):
    (B, C, H, W), (tall, wide), stride = cache
    dx = np.zeros((B, C, H, W), dy.dtype)
    for n, (i, j) in enumerate(corners((H, W), (tall, wide), stride)):
        dx[:, :, i : i + tall, j : j + wide] += dy[:, n].reshape(B, C, tall, wide)
    return dx


def overlap_one_type(dy, cache):
    (B, C, H, W), (tall, wide), stride = cache
    dx = np.zeros((B, C, H, W))
    for n, (i, j) in enumerate(corners((H, W), (tall, wide), stride)):
        dx[:, :, i : i + tall, j : j + wide] += np.moveaxis(dy[:, n].reshape(B, tall, wide, C), -1, 1)
    return dx


def padded(before, after):
    """patchify_padded with other zeros: before(side, patch) above and on the left, after(side, patch) at the ends."""

    def attempt(x, patch_size):
        (H, W), (tall, wide) = x.shape[2:], patch_size
        down, across = ((before(n, p), after(n, p)) for n, p in ((H, tall), (W, wide)))
        y, cache = patchify(np.pad(x, ((0, 0), (0, 0), down, across)), patch_size)
        return y, (cache, (H, W))

    return attempt


padded_too_much = padded(lambda n, p: 0, lambda n, p: p - n % p)
padded_in_front = padded(lambda n, p: -n % p, lambda n, p: 0)


def padded_with_edge(x, patch_size):
    (H, W), (tall, wide) = x.shape[2:], patch_size
    y, cache = patchify(np.pad(x, ((0, 0), (0, 0), (0, -H % tall), (0, -W % wide)), mode="edge"), patch_size)
    return y, (cache, (H, W))


def padded_sides_swapped(x, patch_size):
    return patchify_padded(x, patch_size[::-1])


def padded_with_real_zeros(x, patch_size):
    (B, C, H, W), (tall, wide) = x.shape, patch_size
    larger = np.zeros((B, C, H + -H % tall, W + -W % wide))
    larger[:, :, :H, :W] = x
    y, cache = patchify(larger, patch_size)
    return y, (cache, (H, W))


def padding_kept(dy, cache):
    return patchify_backward(dy, cache[0])


def padding_dropped_at_the_wrong_end(dy, cache):
    patches, (H, W) = cache
    return patchify_backward(dy, patches)[:, :, -H:, -W:]


def shuffled_again(dy, order):
    return np.take_along_axis(dy, order[:, :, None], axis=1)


def shuffled_all_as_the_last(dy, order):
    dx = np.zeros_like(dy)
    dx[:, order] = dy  # NumPy broadcasts, and the last image wins
    return dx


def overlap_colours_before_columns(dy, cache):
    """Reads a patch as rows, colours, columns."""
    (B, C, H, W), (tall, wide), stride = cache
    dx = np.zeros((B, C, H, W), dy.dtype)
    for n, (i, j) in enumerate(corners((H, W), (tall, wide), stride)):
        dx[:, :, i : i + tall, j : j + wide] += np.moveaxis(dy[:, n].reshape(B, tall, C, wide), 2, 1)
    return dx


def padded_by_the_remainder_of_the_rows(x, patch_size):
    (H, W), (tall, wide) = x.shape[2:], patch_size
    y, cache = patchify(np.pad(x, ((0, 0), (0, 0), (0, H % tall), (0, -W % wide))), patch_size)
    return y, (cache, (H, W))


def shuffled_with_dorder(dy, order):
    return shuffle_backward(dy, order), np.zeros(order.shape)


def shuffle_sends(x, order):
    return np.take_along_axis(x, np.argsort(order, axis=1)[:, :, None], axis=1), order


WRONG = {
    "2.1": [
        ((overlapping_patches, overlap_assigned), "first wrong at"),
        ((overlapping_patches, overlap_averaged), "first wrong at"),
        ((overlapping_patches, overlap_counted), "dy is ignored"),
        ((overlapping_patches, overlap_channels_first), "wrong: at"),
        ((overlapping_patches, overlap_colours_before_columns), "the right numbers in another order"),
        ((overlapping_patches, overlap_one_type), "is of float64 where x is of float32"),
    ],
    "2.2": [
        ((patchify_padded, padding_kept), "where the argument has"),
        ((patchify_padded, padding_dropped_at_the_wrong_end), "wrong: at"),
        ((padded_too_much, patchify_padded_backward), "where the right result has"),
        ((padded_by_the_remainder_of_the_rows, patchify_padded_backward), "does not divide"),
        ((padded_in_front, patchify_padded_backward), "wrong"),
        ((padded_with_edge, patchify_padded_backward), "right but for index"),
        ((padded_sides_swapped, patchify_padded_backward), "where the right result has"),
        ((padded_with_real_zeros, patchify_padded_backward), "made without dtype=x.dtype on its path); keep them\n"),
    ],
    "2.3": [
        ((shuffle, shuffled_again), "the right numbers in another order"),
        ((shuffle, lambda dy, order: dy), "the right numbers in another order"),
        ((shuffle, shuffled_all_as_the_last), "right only for index 2 of axis 0 (B)"),
        ((shuffle, shuffled_with_dorder), "returned 2 gradients for 1 float array"),
        ((shuffle_sends, shuffle_backward), "the right numbers in another order"),
    ],
}
