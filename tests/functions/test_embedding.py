"""Class token and positions: where they go, and gradients that add up over the batch."""

import math

import numpy as np
import pytest
from helpers.cases import assert_close, random
from tolerances import SAME_FORMULA

from minivit.functions import (
    add_positions,
    add_positions_backward,
    prepend_class_token,
    prepend_class_token_backward,
    sincos_positions,
)


def test_the_class_token_stands_in_front_of_every_image():
    x, token = random(1, 3, 4, 5), random(2, 5)
    y, cache = prepend_class_token(x, token)
    assert y.shape == (3, 5, 5)
    assert np.array_equal(y[:, 1:], x)
    assert np.array_equal(y[:, 0], np.stack([token] * 3))
    dy = random(3, 3, 5, 5)
    dx, dtoken = prepend_class_token_backward(dy, cache)
    assert np.array_equal(dx, dy[:, 1:])
    assert_close(dtoken, dy[0, 0] + dy[1, 0] + dy[2, 0], SAME_FORMULA)


def test_every_image_gets_the_same_positions():
    x, positions, dy = random(1, 3, 4, 5), random(2, 4, 5), random(3, 3, 4, 5)
    y, cache = add_positions(x, positions)
    for i in range(3):
        assert np.array_equal(y[i], x[i] + positions)
    dx, dpositions = add_positions_backward(dy, cache)
    assert np.array_equal(dx, dy)
    assert_close(dpositions, dy[0] + dy[1] + dy[2], SAME_FORMULA)


def test_float16_gradients_are_summed_over_the_batch_in_float32():
    """4096 images of 1: a float16 sum would stop at 2048."""
    ones = np.ones((4096, 2, 1), np.float16)
    assert prepend_class_token_backward(ones, prepend_class_token(ones[:, 1:], ones[0, 0])[1])[1].item() == 4096.0
    assert add_positions_backward(ones, add_positions(ones, ones[0])[1])[1].ravel().tolist() == [4096.0] * 2


def test_float64_positions_leave_float32_tokens_float32():
    """The sin-cos table is float64 whatever the model is."""
    y, _ = add_positions(np.zeros((2, 6, 8), np.float32), sincos_positions((2, 3), 8))
    assert y.dtype == np.float32


@pytest.mark.parametrize("grid", [(1, 1), (2, 3), (3, 2), (8, 8), (1, 14), (14, 14)])
@pytest.mark.parametrize("width", [8, 12, 96])
def test_sincos_positions_tell_every_patch_apart(grid, width):
    positions = sincos_positions(grid, width)
    assert positions.shape == (grid[0] * grid[1], width)
    assert positions.dtype == np.float64
    distance = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    assert distance[~np.eye(len(positions), dtype=bool)].min(initial=9.0) > 0.2


def test_sincos_positions_number_by_number():
    """Token 5 of a 2 x 3 grid is row 1, column 2; width 12 has three frequencies: 1, 1/100, 1/10000."""
    row, column = 1, 2
    across = [column, column / 100, column / 10_000]
    down = [row, row / 100, row / 10_000]
    expected = [f(v) for angles in (across, down) for f in (math.sin, math.cos) for v in angles]
    assert_close(sincos_positions((2, 3), 12)[5], np.array(expected), SAME_FORMULA)


def test_the_temperature_is_the_longest_wavelength():
    assert_close(sincos_positions((1, 2), 8, temperature=50.0)[1, :2], np.sin([1.0, 1 / 50]), SAME_FORMULA)


def test_sincos_positions_are_as_far_apart_everywhere():
    """sin and cos of each angle have norm 1: every position lies on one sphere."""
    assert_close((sincos_positions((4, 5), 16) ** 2).sum(-1), np.full(20, 8.0), SAME_FORMULA)


@pytest.mark.parametrize("width", [4, 6, 10, 98])
def test_a_width_that_sincos_cannot_fill_is_named(width):
    with pytest.raises(ValueError, match=rf"^sincos_positions: width {width} is not a multiple of 4, at least 8$"):
        sincos_positions((2, 2), width)


@pytest.mark.parametrize(("x", "token"), [((2, 5, 7), (6,)), ((2, 5, 7), (1, 7)), ((5, 7), (7,))])
def test_a_token_of_another_width_is_named(x, token):
    with pytest.raises(
        ValueError, match=r"^prepend_class_token: x .* needs 3 axes and a token of shape \(7,\)"
    ) as error:
        prepend_class_token(np.zeros(x), np.zeros(token))
    assert str(x) in str(error.value)
    assert f"got {token}" in str(error.value)


@pytest.mark.parametrize("positions", [(4, 7), (5, 6), (1, 5, 7), (7,)])
def test_positions_of_another_shape_are_named(positions):
    with pytest.raises(ValueError, match=r"^add_positions: x \(2, 5, 7\) needs 3 axes and positions") as error:
        add_positions(np.zeros((2, 5, 7)), np.zeros(positions))
    assert f"of shape (5, 7), got {positions}" in str(error.value)


def test_tokens_without_a_batch_are_refused():
    with pytest.raises(ValueError, match=r"^add_positions: x \(5, 7\) needs 3 axes"):
        add_positions(np.zeros((5, 7)), np.zeros(7))
