"""Layer normalisation: statistics, the two directions that it does not see, and numbers far from 0."""

import numpy as np
import pytest
from helpers.cases import assert_close, random
from tolerances import FORWARD, SAME_FORMULA, ZERO_ABSOLUTE

from minivit.functions import layer_norm, layer_norm_backward

F32 = np.dtype(np.float32)


def test_one_number_wide_the_result_is_the_bias_and_dx_is_zero():
    x, g, b = random(1, 3, 5, 1), random(2, 1), random(3, 1)
    y, cache = layer_norm(x, g, b)
    assert np.array_equal(y, np.broadcast_to(b, y.shape))
    dx, dg, db = layer_norm_backward(np.ones_like(y), cache)
    assert np.abs(dx).max() <= ZERO_ABSOLUTE
    assert dg.item() == 0.0
    assert db.item() == 15.0


def test_the_result_has_mean_0_and_variance_1():
    x = random(1, 4, 5, 64, scale=3.0) + 7.0
    y, _ = layer_norm(x, np.ones(64), np.zeros(64))
    assert np.abs(y.mean(-1)).max() < 1e-14
    var = x.var(-1)
    assert_close(y.var(-1), var / (var + 1e-6), 1e-13)


def test_gain_and_bias_act_on_each_channel_alone():
    x, g, b = random(1, 3, 7), random(2, 7), random(3, 7)
    u, _ = layer_norm(x, np.ones(7), np.zeros(7))
    assert_close(layer_norm(x, g, b)[0], g * u + b, SAME_FORMULA)


def test_eps_is_added_to_the_variance():
    """x = (-1, 1) has variance 1; with eps = 3 it is divided by 2."""
    assert layer_norm(np.array([[-1.0, 1.0]]), np.ones(2), np.zeros(2), eps=3.0)[0].tolist() == [[-0.5, 0.5]]


def test_the_default_eps_is_that_of_the_published_checkpoints():
    x, one, zero = random(1, 3, 7), np.ones(7), np.zeros(7)
    assert np.array_equal(layer_norm(x, one, zero)[0], layer_norm(x, one, zero, eps=1e-6)[0])


def test_dx_is_blind_to_a_shift_and_nearly_to_a_stretch():
    """dx sums to 0 in each row; with eps far below the variance it has no part along x - mean either."""
    x, g = random(1, 4, 9), random(2, 9)
    dx, _, _ = layer_norm_backward(random(3, 4, 9), layer_norm(x, g, np.zeros(9), eps=1e-15)[1])
    assert np.abs(dx.sum(-1)).max() < 1e-14
    assert np.abs((dx * (x - x.mean(-1, keepdims=True))).sum(-1)).max() < 1e-13


def test_far_from_zero_the_variance_keeps_its_digits():
    """Mean 100, standard deviation 0.1, float32: E[x^2] - E[x]^2 would be off by a tenth, and more in single rows."""
    x = (100.0 + random(1, 64, 192, scale=0.1)).astype(np.float32)
    exact = x.astype(np.float64)
    _, cache = layer_norm(x, np.ones(192, F32), np.zeros(192, F32))
    one_pass = (x * x).mean(-1) - x.mean(-1) ** 2
    var = 1.0 / cache.rstd[:, 0].astype(np.float64) ** 2 - 1e-6
    assert np.abs(one_pass / exact.var(-1) - 1).max() > 0.1, "the example is meant to be hard"
    # The mean itself is rounded to 7.6e-6 at 100, a 1e-4 part of the deviation; squared it does not count.
    assert_close(var, exact.var(-1), 1e-5)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(
    "row", [[1e4] * 6, [-1e4] * 6, [0.0] * 6, [65504.0, 0, 0, 0, 0, 0], [1e4, -1e4] * 3, [6e-8] * 6]
)
def test_extreme_rows_stay_finite_and_right(row, dtype):
    x = np.array([row], dtype)
    g, b = random(1, 6).astype(dtype), random(2, 6).astype(dtype)
    y, cache = layer_norm(x, g, b)
    exact, exact_cache = layer_norm(x.astype(np.float64), g.astype(np.float64), b.astype(np.float64))
    assert_close(y, exact, FORWARD[np.dtype(dtype)])
    dy = random(3, 1, 6).astype(dtype)
    for found, expected in zip(
        layer_norm_backward(dy, cache), layer_norm_backward(dy.astype(np.float64), exact_cache), strict=True
    ):
        assert np.isfinite(found).all()
        assert np.abs(found - expected).max() <= 4e-3 * max(1.0, np.abs(expected).max())


def test_equal_numbers_give_the_bias():
    y, _ = layer_norm(np.full((2, 5), 1e4), random(1, 5), random(2, 5))
    assert np.array_equal(y, np.broadcast_to(random(2, 5), (2, 5)))


@pytest.mark.parametrize(("g", "b"), [((64,), (192,)), ((192,), (64,)), ((1,), (1,)), ((65, 192), (65, 192))])
def test_shapes_that_do_not_fit_are_named(g, b):
    with pytest.raises(ValueError, match=r"^layer_norm: x \(8, 65, 192\) needs g and b of shape \(192,\)") as error:
        layer_norm(np.zeros((8, 65, 192)), np.zeros(g), np.zeros(b))
    assert f"got {g} and {b}" in str(error.value)
