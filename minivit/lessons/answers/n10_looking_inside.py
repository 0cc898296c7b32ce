"""Answers to notebooks/10_looking_inside.ipynb."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from minivit.arrays import Array
from minivit.errors import MinivitError
from minivit.gradcheck.catalog import normal
from minivit.lessons.exercise import function_exercise
from minivit.lessons.slips import Slip, naming_slips


def prepare(image: Array, size: int, mean: Sequence[float], std: Sequence[float]) -> Array:
    """An image (H, W, 3) uint8, sides of size or more, as (3, size, size): (pixel / 255 - mean) / std by channel."""
    if image.ndim != 3 or image.shape[2] != 3 or min(image.shape[:2]) < size:
        raise MinivitError(
            f"the image has shape {image.shape}; expected (height, width, 3), both sides at least {size}: "
            'take a larger picture, or, of PIL, its .convert("RGB")'
        )
    height, width, _ = image.shape
    block = min(height, width) // size
    side = block * size
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    small = square.reshape(size, block, size, block, 3).mean((1, 3))
    return np.asarray(((small / 255 - np.asarray(mean)) / np.asarray(std)).transpose(2, 0, 1))


def linear_probe(features: Array, labels: Array, classes: int, ridge: float) -> tuple[Array, Array]:
    """Weight (D, classes) and bias (classes,) from features (N, D) to +-1 targets of labels (N,), by least squares."""
    targets = np.where(np.arange(classes) == labels[:, None], 1.0, -1.0)
    mean, mean_target = features.mean(0), targets.mean(0)
    centred = features - mean
    w = np.linalg.solve(centred.T @ centred + ridge * np.eye(features.shape[1]), centred.T @ (targets - mean_target))
    return w, mean_target - mean @ w


def resize_positions(positions: Array, grid: tuple[int, int], new_grid: tuple[int, int]) -> Array:
    """Positions (N, D) of a grid (rows, columns), interpolated bilinearly for another grid: (N', D)."""
    table = positions.reshape(*grid, -1)
    table = _interpolation(grid[0], new_grid[0]) @ table.reshape(grid[0], -1)  # rows first: (n, m) @ (m, columns * D)
    table = table.reshape(new_grid[0], grid[1], -1)
    table = np.einsum("nm,rmd->rnd", _interpolation(grid[1], new_grid[1]), table)
    return table.reshape(new_grid[0] * new_grid[1], -1)


def _interpolation(old: int, new: int) -> Array:
    """The matrix (new, old) that takes values at `old` places in a line to `new` places over the same length."""
    return _weights(np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1), old)


def _weights(at: Array, old: int) -> Array:
    """The weights (n, old) of values at 0 .. old - 1 for places between them, at (n,)."""
    return np.maximum(0.0, 1.0 - np.abs(at[:, None] - np.arange(old)))


def _prepared(
    image: Array,
    size: int,
    mean: Sequence[float],
    std: Sequence[float],
    *,
    corner: bool = False,
    whole: bool = True,
    scale: float = 255.0,
    normalised: bool = True,
) -> Array:
    """`prepare` with room for slips."""
    height, width, _ = image.shape
    block = min(height, width) // size
    side = block * size
    top, left = (0, 0) if corner else ((height - side) // 2, (width - side) // 2)
    square = image[top : top + side, left : left + side]
    small = square.reshape(size, block, size, block, 3).mean((1, 3)) if whole else square[::block, ::block]
    x = small / scale
    x = (x - np.asarray(mean)) / np.asarray(std) if normalised else x
    return np.asarray(x.transpose(2, 0, 1))


def _resized_by(places: Callable[[int, int], Array]) -> Callable[..., Array]:
    """`resize_positions` with the old places of n new ones at places(m, n), m old ones to n new ones."""

    def resized(positions: Array, grid: tuple[int, int], new_grid: tuple[int, int]) -> Array:
        rows, columns = (_weights(places(m, n), m) for m, n in zip(grid, new_grid, strict=True))
        table = np.einsum("nr,mc,rcd->nmd", rows, columns, positions.reshape(*grid, -1))
        return np.asarray(table.reshape(new_grid[0] * new_grid[1], -1))

    return resized


_PIXELS = np.random.default_rng(0).integers(
    0, 256, (22, 14, 3), np.uint8
)  # what is cut off is even: "centred" has one meaning
_LABELS = np.array([0, 3, 1, 1, 2, 0, 3, 2, 1])
_PROBE_CASES = (
    (normal(1, 9, 5) + 1.0, _LABELS, 4, 0.7),
    (normal(5, 8, 3), _LABELS[1:], 6, 0.05),  # no image of the last two classes
)


def _probe_of_0_and_1(features: Array, labels: Array, classes: int, ridge: float) -> tuple[Array, Array]:
    w, b = linear_probe(features, labels, classes, ridge)
    return w / 2.0, (b + 1.0) / 2.0  # t -> (t + 1) / 2


def _probe_not_centred(features: Array, labels: Array, classes: int, ridge: float) -> tuple[Array, Array]:
    targets = np.where(np.arange(classes) == labels[:, None], 1.0, -1.0)
    w = np.linalg.solve(features.T @ features + ridge * np.eye(features.shape[1]), features.T @ targets)
    return w, targets.mean(0) - features.mean(0) @ w


_PROBE_SLIPS: list[Slip] = [
    ("these are targets of 0 and 1: they have to be +1 and -1", _probe_of_0_and_1),
    ("features and targets are not centred: take their means off first", _probe_not_centred),
    ("the ridge is missing: ridge * I is added to X_c' X_c", lambda x, labels, n, _: linear_probe(x, labels, n, 0.0)),
]

_IMAGE_CASES = (
    (_PIXELS, 4, (0.5, 0.4, 0.3), (0.2, 0.25, 0.35)),
    (_PIXELS.transpose(1, 0, 2), 6, (0.5, 0.4, 0.3), (0.2, 0.25, 0.35)),
)
_IMAGE_SLIPS: list[Slip] = [
    ("the square is cut from a corner: expected from the centre", partial(_prepared, corner=True)),
    ("one pixel of each block is picked: expected the block's mean", partial(_prepared, whole=False)),
    ("pixels go from 0 to 255: divide by 255 before the mean is taken off", partial(_prepared, scale=1.0)),
    ("not normalised: - mean, then / std, for each channel", partial(_prepared, normalised=False)),
    ("neither divided by 255 nor normalised", partial(_prepared, scale=1.0, normalised=False)),
    ("mean and std are swapped", lambda image, size, mean, std: prepare(image, size, std, mean)),
]
_RESIZE_CASES = (
    (normal(2, 6, 5), (2, 3), (4, 9)),
    (normal(3, 12, 3), (3, 4), (5, 2)),
    (normal(4, 12, 3), (3, 4), (3, 4)),
)
_NEAREST = "the nearest old place is taken: expected the bilinear mean of the four around"
_RESIZE_SLIPS: list[Slip] = [
    (
        "the half pixels are missing: row i lies at (i + 1/2) m / n - 1/2, not at i m / n",
        _resized_by(lambda m, n: np.clip(np.arange(n) * m / n, 0, m - 1)),
    ),
    (
        "the corners' centres are laid on one another, i (m - 1) / (n - 1); expected both grids over the same image",
        _resized_by(lambda m, n: np.linspace(0.0, m - 1.0, n)),
    ),
    (
        "places outside the old grid are not kept within 0 and m - 1",
        _resized_by(lambda m, n: (np.arange(n) + 0.5) * m / n - 0.5),
    ),
    (_NEAREST, _resized_by(lambda m, n: np.arange(n) * m // n)),
    (_NEAREST, _resized_by(lambda m, n: np.clip(np.rint((np.arange(n) + 0.5) * m / n - 0.5), 0, m - 1))),
    (_NEAREST, _resized_by(lambda m, n: np.floor((np.arange(n) + 0.5) * m / n))),
]

EXERCISES = {
    "10.1": naming_slips(
        function_exercise(
            "your own image", prepare, *_IMAGE_CASES, tolerance=1e-5, names=("image",)
        ),  # float32 will do
        _IMAGE_CASES,
        _IMAGE_SLIPS,
        ("image",),
        tolerance=1e-5,
    ),
    "10.2": naming_slips(
        function_exercise("a linear probe", linear_probe, *_PROBE_CASES, tolerance=1e-10, names=("weight", "bias")),
        _PROBE_CASES,
        _PROBE_SLIPS,
        ("weight", "bias"),
        tolerance=1e-10,
    ),
    "10.3": naming_slips(
        function_exercise("another resolution", resize_positions, *_RESIZE_CASES, names=("positions",)),
        _RESIZE_CASES,
        _RESIZE_SLIPS,
        ("positions",),
    ),
}
