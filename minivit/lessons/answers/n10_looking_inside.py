"""Answers to notebooks/10_looking_inside.ipynb."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minivit.arrays import Array
from minivit.gradcheck.catalog import normal
from minivit.lessons.exercise import function_exercise


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

EXERCISES = {
    "10.1": function_exercise(
        "your own image",
        prepare,
        (_PIXELS, 4, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)),
        (_PIXELS.transpose(1, 0, 2), 6, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)),
        tolerance=1e-5,  # float32 will do
        names=("image",),
    ),
    "10.2": function_exercise(
        "a linear probe",
        linear_probe,
        (normal(1, 9, 5) + 1.0, _LABELS, 4, 0.7),
        (normal(5, 8, 3), _LABELS[1:], 6, 0.05),  # no image of the last two classes
        tolerance=1e-10,
        names=("weight", "bias"),
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
