"""Answers to notebooks/10_looking_inside.ipynb."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minivit.arrays import Array
from minivit.gradcheck.catalog import normal
from minivit.lessons.exercise import function_exercise
from minivit.lessons.slips import Slip, naming_slips


def prepare(image: Array, size: int, mean: Sequence[float], std: Sequence[float]) -> Array:
    """An image (H, W, 3) uint8 of any size as (3, size, size) floats: (pixel / 255 - mean) / std, a mean a channel."""
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
    at = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    return np.maximum(0.0, 1.0 - np.abs(at[:, None] - np.arange(old)))


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

EXERCISES = {
    "10.1": function_exercise(
        "your own image",
        prepare,
        (_PIXELS, 4, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)),
        (_PIXELS.transpose(1, 0, 2), 6, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)),
        tolerance=1e-5,  # float32 will do
        names=("image",),
    ),
    "10.2": naming_slips(
        function_exercise("a linear probe", linear_probe, *_PROBE_CASES, tolerance=1e-10, names=("weight", "bias")),
        _PROBE_CASES,
        _PROBE_SLIPS,
        ("weight", "bias"),
        tolerance=1e-10,
    ),
    "10.3": function_exercise(
        "another resolution",
        resize_positions,
        (normal(2, 6, 5), (2, 3), (4, 9)),
        (normal(3, 12, 3), (3, 4), (5, 2)),
        (normal(4, 12, 3), (3, 4), (3, 4)),
        names=("positions",),
    ),
}
