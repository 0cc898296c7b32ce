"""Labelled images in memory, and what every data set needs: a held-out part, statistics, scaling.

Images stay uint8 until a batch is normalised: 50 000 images of 3x32x32 are 154 MB as bytes and
614 MB as float32.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from minivit.arrays import Array, array_module, cast
from minivit.errors import MinivitError
from minivit.randomness import Key, generator


class Dataset(NamedTuple):
    """Labelled images."""

    images: Array  # (N, C, H, W) uint8
    labels: Array  # (N,) int64, an index into classes
    classes: tuple[str, ...]


class Splits(NamedTuple):
    """What to learn from, what to choose by, and what to report at the end."""

    train: Dataset
    validation: Dataset
    test: Dataset
    notes: tuple[str, ...]  # sentences for the user: what was resized, what was held out
    test_held_out: bool = False  # of the training images: with others, other ones would be


def fingerprint(dataset: Dataset) -> str:
    """What tells these images, labels and their order from all others: 64 hexadecimal digits (SHA-256)."""
    found = hashlib.sha256(np.ascontiguousarray(dataset.images).data)
    found.update(dataset.labels.astype("<i8").data)
    return found.hexdigest()


def take(dataset: Dataset, index: Array) -> Dataset:
    """Return the images and labels at `index` (M,), copied, in that order."""
    return Dataset(dataset.images[index], dataset.labels[index], dataset.classes)


def hold_out(dataset: Dataset, count: int) -> tuple[Dataset, Dataset]:
    """Split `dataset` (N images) into (N - count, count) images; both keep the data set's order.

    The choice is the same in every run, whatever its seed: two trainings are compared on equal
    images. Each class gives its share to within one image, and while count <= N / 2 no class of two
    images or more is held out whole.

    Raises MinivitError unless 0 < count < N.
    """
    total = len(dataset.labels)
    if not 0 < count < total:
        raise MinivitError(
            f"cannot hold out {count} of {total} images: at least one must be held out and one must"
            " remain, so add images or hold out fewer"
        )
    # A random order, then sorted by class: every (N / count)-th image is a random one of its class.
    order = generator(Key(0, "split")).permutation(total)
    order = order[np.argsort(dataset.labels[order], kind="stable")]
    held = np.zeros(total, bool)
    held[order[(2 * np.arange(count) + 1) * total // (2 * count)]] = True
    return take(dataset, np.flatnonzero(~held)), take(dataset, np.flatnonzero(held))


def channel_statistics(images: Array) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return (mean, std) of each channel of images (N, C, H, W) uint8, in units of [0, 1].

    Both are exact, from a histogram of the 256 values. The standard deviation is at least 1/255, one
    step of a byte, so that a constant channel can be divided by it.

    Raises MinivitError if there are no images.
    """
    if images.size == 0:
        raise MinivitError(f"channel_statistics: images {images.shape} hold no pixel; expected at least one")
    channels = images.shape[1]
    histogram = np.zeros((channels, 256), np.int64)
    for start in range(0, len(images), 1000):  # bincount makes an int64 copy of what it is given
        for c in range(channels):
            histogram[c] += np.bincount(images[start : start + 1000, c].ravel(), minlength=256)
    value = np.arange(256) / 255
    weight = histogram / histogram.sum(axis=1, keepdims=True)
    mean = weight @ value
    variance = (weight * (value - mean[:, None]) ** 2).sum(axis=1)
    std = np.maximum(np.sqrt(variance), 1 / 255)
    return tuple(mean.tolist()), tuple(std.tolist())


def normalise(images: Array, mean: Sequence[float], std: Sequence[float], dtype: Any = np.float32) -> Array:
    """Return (images / 255 - mean) / std for images (B, C, H, W) uint8, as (B, C, H, W) `dtype`.

    `mean` and `std` hold one number a channel, in units of [0, 1]. Computed in float32 or wider, on
    the device where the images are. Raises MinivitError if a length is not C.
    """
    channels = images.shape[1]
    if not len(mean) == len(std) == channels:
        raise MinivitError(
            f"normalise: images {images.shape} need a mean and a std of {channels} channels each,"
            f" got {len(mean)} and {len(std)}"
        )
    xp = array_module(images)
    work = np.promote_types(dtype, np.float32)
    # One multiplication and one addition a pixel instead of two divisions and a subtraction.
    scale = 1 / (255 * np.asarray(std, np.float64))
    shift = -np.asarray(mean, np.float64) / np.asarray(std, np.float64)
    x = xp.astype(images, work)
    x *= xp.asarray(scale.astype(work))[:, None, None]
    x += xp.asarray(shift.astype(work))[:, None, None]
    return cast(x, dtype)
