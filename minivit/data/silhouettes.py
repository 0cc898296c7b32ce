"""The ten silhouettes of the built-in data set, as signed distances.

A signed distance is negative inside the shape, positive outside, and its size is the distance to
the outline; so the coverage of a pixel, anti-aliased, is clip(1/2 - distance in pixels, 0, 1). Each
shape fills about the unit circle; x points right and y points down, as in an image.

Source of the polygon's distance: Inigo Quilez, "2D distance functions".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from minivit.arrays import Array

Point = tuple[float, float]
Silhouette = Callable[[Array, Array], Array]


def disc_distance(x: Array, y: Array, centre: Point = (0.0, 0.0), radius: float = 1.0) -> Array:
    """Signed distance of the points (x, y), any shape, to a disc."""
    return np.sqrt((x - centre[0]) ** 2 + (y - centre[1]) ** 2) - radius


def polygon_distance(x: Array, y: Array, corners: Sequence[Point]) -> Array:
    """Signed distance of the points (x, y), any shape, to a polygon given by its corners in order."""
    squared = np.full_like(x, np.inf)
    inside = np.zeros(x.shape, bool)
    for (ax, ay), (bx, by) in zip(corners, [*corners[1:], corners[0]], strict=True):
        ex, ey = bx - ax, by - ay
        wx, wy = x - ax, y - ay
        # The nearest point of the edge is a + t e.
        t = np.clip((wx * ex + wy * ey) / (ex * ex + ey * ey), 0, 1)
        np.minimum(squared, (wx - t * ex) ** 2 + (wy - t * ey) ** 2, out=squared)
        # A ray to the right crosses the outline an odd number of times from inside.
        if ey != 0:
            inside ^= ((wy >= 0) != (y >= by)) & ((wx * ey < wy * ex) == (ey > 0))
    distance = np.sqrt(squared)
    return np.where(inside, -distance, distance)


def _polygon(*corners: Point) -> Silhouette:
    return lambda x, y: polygon_distance(x, y, corners)


def _rectangle(half_width: float, half_height: float) -> Silhouette:
    a, b = half_width, half_height
    return _polygon((-a, -b), (a, -b), (a, b), (-a, b))


def _star(points: int, outer: float, inner: float) -> Silhouette:
    radii = (outer, inner) * points
    angles = [math.pi * i / points for i in range(2 * points)]
    return _polygon(*[(r * math.sin(t), -r * math.cos(t)) for r, t in zip(radii, angles, strict=True)])


def _cross(length: float, half_width: float) -> Silhouette:
    a, b = length, half_width
    quarter = [(b, -b), (a, -b), (a, b)]
    turned = [(-y, x) for x, y in quarter]
    return _polygon(*quarter, *turned, *[(-x, -y) for x, y in quarter], *[(-x, -y) for x, y in turned])


def _ring(x: Array, y: Array) -> Array:
    return np.abs(disc_distance(x, y, radius=0.76)) - 0.24


def _crescent(x: Array, y: Array) -> Array:
    bite = disc_distance(x, y, centre=(0.5, 0.0), radius=0.8)
    return np.maximum(disc_distance(x, y), -bite)


def _heart(x: Array, y: Array) -> Array:
    # A square on its corner, with half a disc on each upper side.
    a, down = 0.82, 0.08
    square = polygon_distance(x, y, [(0, down - a), (a, down), (0, down + a), (-a, down)])
    left = disc_distance(x, y, (-a / 2, down - a / 2), a / math.sqrt(2))
    right = disc_distance(x, y, (a / 2, down - a / 2), a / math.sqrt(2))
    return np.minimum(square, np.minimum(left, right))


# No two are turned or mirrored copies of one another. The order is the order of the labels.
SILHOUETTES: dict[str, Silhouette] = {
    "disc": disc_distance,
    "ring": _ring,
    "square": _rectangle(0.8, 0.8),
    "triangle": _polygon((0, -1.1), (0.95, 0.55), (-0.95, 0.55)),
    "star": _star(5, 1.08, 0.44),
    "cross": _cross(1.0, 0.3),
    "heart": _heart,
    "crescent": _crescent,
    "bar": _rectangle(1.0, 0.28),
    "arrow": _polygon((1, 0), (0.1, -0.85), (0.1, -0.3), (-1, -0.3), (-1, 0.3), (0.1, 0.3), (0.1, 0.85)),
}
