"""The built-in data set: ten shapes, drawn on the spot, so that training needs no download.

Each image shows one shape of random colour, size, place and slight rotation on a plain, shaded or
striped background, with a few small marks and some noise. Position and colour say nothing about the
class.
"""

from __future__ import annotations

import math

import numpy as np

from minivit.arrays import Array
from minivit.data.dataset import Dataset, Splits
from minivit.data.silhouettes import SILHOUETTES
from minivit.errors import MinivitError
from minivit.randomness import Key, generator

CLASSES = tuple(SILHOUETTES)
CHUNK = 200  # images drawn from one address; part of what a seed means, like the order of the draws
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # perceived brightness of red, green and blue (BT.601)
CONTRAST = 0.4  # the least by which a shape is brighter than its background, before texture and noise
SMALLEST = 16  # pixels a side; below it a star cannot be told from a disc


def shapes_splits(seed: int = 0, size: int = 32) -> Splits:
    """Return 10 000 training, 1 000 validation and 2 000 test images (3, size, size), drawn from seed."""
    return Splits(shapes(10_000, seed, size), shapes(1_000, seed, size, 1), shapes(2_000, seed, size, 2), ())


def shapes(count: int, seed: int, size: int = 32, part: int = 0) -> Dataset:
    """Return `count` images (count, 3, size, size) of ten shapes, their classes balanced to within one.

    Image i depends on seed, size and part only, never on count; and, by one step of a byte in a pixel
    here and there, on how a CPU rounds. Parts 0, 1 and 2 are the images for
    training, validation and test; they share no random number.

    Raises MinivitError unless count >= 1 and size >= 16, and ValueError for a seed below 0.
    """
    if count < 1:
        raise MinivitError(f"shapes: count {count} is below 1; ask for at least one image")
    if size < SMALLEST:
        raise MinivitError(f"shapes: size {size} is too small to tell the shapes apart; choose at least {SMALLEST}")
    images = np.empty((count, 3, size, size), np.uint8)
    labels = np.empty(count, np.int64)
    for start in range(0, count, CHUNK):
        stop = min(start + CHUNK, count)
        drawn, drawn_labels = _chunk(Key(seed, "shapes", step=part, site=start // CHUNK), size)
        images[start:stop] = drawn[: stop - start]
        labels[start:stop] = drawn_labels[: stop - start]
    return Dataset(images, labels, CLASSES)


def _chunk(key: Key, size: int) -> tuple[Array, Array]:
    """Draw the CHUNK images (CHUNK, 3, size, size) uint8 and labels (CHUNK,) int64 at one address."""
    rng = generator(key)
    tens = np.tile(np.arange(len(CLASSES)), (CHUNK // len(CLASSES), 1))
    labels = rng.permuted(tens, axis=1).ravel()  # every ten in a row show all classes
    background, foreground = _colours(rng)
    canvas = background[:, :, None, None] + _texture(rng, size)[:, None]
    _paint_marks(rng, canvas)
    coverage = _coverage(rng, labels, size)[:, None]
    canvas += coverage * (foreground[:, :, None, None] - canvas)
    strength = rng.uniform(0.01, 0.04, (CHUNK, 1, 1, 1)).astype(np.float32)
    canvas += strength * rng.standard_normal(canvas.shape, np.float32)
    return np.rint(np.clip(canvas, 0, 1) * 255).astype(np.uint8), labels


def _colours(rng: np.random.Generator) -> tuple[Array, Array]:
    """Return colours (CHUNK, 3) in [0, 1] of backgrounds and shapes; the shape is CONTRAST or more brighter."""
    background, foreground = rng.random((2, CHUNK, 3), np.float32)
    background *= 0.5
    wanted, is_now = background @ LUMA + CONTRAST, foreground @ LUMA
    # A shape that is too dark is mixed with as much white as it needs.
    white = np.clip((wanted - is_now) / (1 - is_now), 0, 1)[:, None]
    return background, foreground + white * (1 - foreground)


def _grid(size: int) -> tuple[Array, Array]:
    """Return the pixel centres' x (1, 1, size) and y (1, size, 1), from -1 to 1 across the image."""
    centre = ((np.arange(size) + 0.5) * 2 / size - 1).astype(np.float32)
    return centre[None, None, :], centre[None, :, None]


def _uniform(rng: np.random.Generator, low: float, high: float) -> Array:
    """Return one float32 an image, as (CHUNK, 1, 1) to be broadcast over its pixels."""
    return rng.uniform(low, high, (CHUNK, 1, 1)).astype(np.float32)


def _texture(rng: np.random.Generator, size: int) -> Array:
    """Return the backgrounds' deviation (CHUNK, size, size) from plain: none, a gradient or stripes."""
    x, y = _grid(size)
    angle = _uniform(rng, 0, 2 * math.pi)
    along = x * np.cos(angle) + y * np.sin(angle)
    waves = np.sin(along * _uniform(rng, 4, 16) + _uniform(rng, 0, 2 * math.pi))
    kind = rng.integers(0, 3, (CHUNK, 1, 1))
    strength = _uniform(rng, 0.04, 0.1)
    return np.where(kind == 0, 0, strength * np.where(kind == 1, along, waves)).astype(np.float32)


def _paint_marks(rng: np.random.Generator, canvas: Array) -> None:
    """Paint up to three small dots on each image of canvas (CHUNK, 3, size, size), in place."""
    size = canvas.shape[-1]
    x, y = _grid(size)
    for _ in range(3):
        centre_x, centre_y = _uniform(rng, -1, 1), _uniform(rng, -1, 1)
        radius = _uniform(rng, 0.05, 0.12)
        colour = rng.random((CHUNK, 3, 1, 1), np.float32)
        # Half the dots are left out; the others are faint, so that none hides in the shape's outline.
        opacity = _uniform(rng, 0.25, 0.5) * (rng.random((CHUNK, 1, 1)) < 0.5)
        distance = np.sqrt((x - centre_x) ** 2 + (y - centre_y) ** 2) - radius
        coverage = (np.clip(0.5 - distance * size / 2, 0, 1) * opacity).astype(np.float32)[:, None]
        canvas += coverage * (colour - canvas)


def _coverage(rng: np.random.Generator, labels: Array, size: int) -> Array:
    """Return how much of each pixel the shapes cover: (CHUNK, size, size) float32 in [0, 1]."""
    x, y = _grid(size)
    radius = _uniform(rng, 0.55, 0.8)  # 9 to 13 pixels of 32
    room = 1 - radius
    centre_x, centre_y = _uniform(rng, -1, 1) * room, _uniform(rng, -1, 1) * room
    angle = _uniform(rng, -math.pi / 15, math.pi / 15)
    mirrored = np.where(rng.random((CHUNK, 1, 1)) < 0.5, -1, 1)
    # Into the shape's own coordinates, where it is upright, of radius 1 and in the middle.
    dx, dy = (x - centre_x) / radius, (y - centre_y) / radius
    u = ((dx * np.cos(angle) + dy * np.sin(angle)) * mirrored).astype(np.float32)
    v = dy * np.cos(angle) - dx * np.sin(angle)
    coverage = np.empty(u.shape, np.float32)
    for label, distance in enumerate(SILHOUETTES.values()):
        mine = np.flatnonzero(labels == label)
        pixels = distance(u[mine], v[mine]) * radius[mine] * (size / 2)
        coverage[mine] = np.clip(0.5 - pixels, 0, 1)
    return coverage
