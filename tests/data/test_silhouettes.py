"""Signed distances of the built-in shapes."""

import numpy as np
import pytest

from minivit.data.silhouettes import SILHOUETTES, disc_distance, polygon_distance

GRID = np.linspace(-1.4, 1.4, 141, dtype=np.float64)
X, Y = np.meshgrid(GRID, GRID)


def test_a_polygon_with_many_corners_is_a_disc():
    t = np.linspace(0, 2 * np.pi, 201)[:-1]
    many = polygon_distance(X, Y, list(zip(np.cos(t).tolist(), np.sin(t).tolist(), strict=True)))
    np.testing.assert_allclose(many, disc_distance(X, Y), atol=2e-3)


@pytest.mark.parametrize("turn", [1, -1])
def test_a_rectangles_distance_is_known(turn):
    corners = [(-0.5, -0.3), (0.5, -0.3), (0.5, 0.3), (-0.5, 0.3)][::turn]
    qx, qy = np.abs(X) - 0.5, np.abs(Y) - 0.3
    expected = np.hypot(np.maximum(qx, 0), np.maximum(qy, 0)) + np.minimum(np.maximum(qx, qy), 0)
    np.testing.assert_allclose(polygon_distance(X, Y, corners), expected, atol=1e-12)


@pytest.mark.parametrize("name", SILHOUETTES)
def test_a_silhouette_is_of_the_unit_circles_size_and_smooth(name):
    distance = SILHOUETTES[name](X, Y)
    inside = distance < 0
    assert 0.15 < inside.mean() * 2.8**2 / np.pi < 1.01, "area, in unit discs"
    assert np.hypot(X, Y)[inside].max() < 1.15
    assert np.hypot(X, Y)[inside].max() > 0.9
    # A distance changes by no more than the step; holds across every seam between parts.
    step = GRID[1] - GRID[0]
    assert np.abs(np.diff(distance, axis=0)).max() < 1.01 * step
    assert np.abs(np.diff(distance, axis=1)).max() < 1.01 * step


def test_float32_stays_float32():
    for distance in SILHOUETTES.values():
        assert distance(X.astype(np.float32), Y.astype(np.float32)).dtype == np.float32


def test_no_two_silhouettes_are_turned_or_mirrored_copies():
    """Overlap of the filled shapes, at the best of 24 turns and both mirrorings."""
    masks = {}
    for name, distance in SILHOUETTES.items():
        turned = []
        for angle in np.arange(24) * np.pi / 12:
            u, v = X * np.cos(angle) + Y * np.sin(angle), Y * np.cos(angle) - X * np.sin(angle)
            turned += [distance(u, v) < 0, distance(-u, v) < 0]
        masks[name] = np.array(turned).reshape(48, -1).astype(np.float32)
    for a, first in masks.items():
        for b, second in masks.items():
            if a < b:
                both = second @ first[0]
                overlap = both / (first[0].sum() + second.sum(1) - both)
                assert overlap.max() < 0.8, (a, b)
