"""Softmax: rows that sum to 1, blind to a shift, finite whatever comes in."""

import numpy as np
import pytest
from helpers.cases import assert_close, random
from hypothesis import given
from hypothesis import strategies as st
from tolerances import FORWARD, GRADIENT, SAME_FORMULA, ZERO_ABSOLUTE

from minivit.functions import softmax, softmax_backward

every_dtype = pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])


def test_one_token_gets_weight_1_and_no_gradient():
    y, cache = softmax(random(1, 3, 5, 1, scale=100.0))
    assert np.all(y == 1.0)
    assert np.abs(softmax_backward(random(2, 3, 5, 1), cache)).max() <= ZERO_ABSOLUTE


@given(st.integers(1, 50), st.sampled_from([0.1, 1.0, 100.0, 1e4]), st.integers(0, 99))
def test_rows_are_positive_and_sum_to_1(tokens, scale, seed):
    y, _ = softmax(random(seed, 4, tokens, scale=scale))
    assert np.all(y >= 0.0)
    assert np.abs(y.sum(-1) - 1.0).max() <= 1e-15 * tokens


def test_a_shift_changes_nothing():
    x = np.round(random(1, 3, 7) * 2**20) / 2**20  # so that adding 1024 rounds nothing
    assert np.array_equal(softmax(x + 1024.0)[0], softmax(x)[0])
    assert np.abs(softmax_backward(random(2, 3, 7), softmax(x)[1]).sum(-1)).max() < 1e-15


def test_known_values():
    y, cache = softmax(np.log(np.array([[1.0, 2.0, 5.0]])))
    assert_close(y, np.array([[0.125, 0.25, 0.625]]), SAME_FORMULA)
    # dx = y (dy - dy . y) with dy = (8, 0, 0): dy . y = 1
    assert_close(softmax_backward(np.array([[8.0, 0.0, 0.0]]), cache), np.array([[0.875, -0.25, -0.625]]), SAME_FORMULA)


@every_dtype
@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([1e4, 1e4, 1e4, 1e4], [0.25] * 4),
        ([-1e4, -1e4, -1e4, -1e4], [0.25] * 4),
        ([1e4, 0.0, 0.0, -1e4], [1, 0, 0, 0]),
        ([65504.0, -65504.0, 65504.0, 0.0], [0.5, 0, 0.5, 0]),
        ([-1e4, -1e4, -1e4, 0.0], [0, 0, 0, 1]),
        ([0.0, -0.0, 0.0, -0.0], [0.25] * 4),
    ],
)
def test_extreme_rows_stay_finite_and_right(row, expected, dtype):
    y, cache = softmax(np.array([row], dtype))
    assert_close(y, np.array([expected], np.float64), FORWARD[np.dtype(dtype)])
    dy = np.array([[1.0, -2.0, 3.0, 0.5]], dtype)
    p, d = np.array([expected], np.float64), dy.astype(np.float64)
    exact = p * (d - (p * d).sum())
    assert np.abs(softmax_backward(dy, cache) - exact).max() <= GRADIENT[np.dtype(dtype)]


def test_float16_rows_are_summed_in_float32():
    """4096 equal entries: a float16 sum of exponentials would stop at 2048 and double every weight."""
    y, _ = softmax(np.zeros((1, 4096), np.float16))
    assert np.all(y == np.float16(1 / 4096))


def test_the_cache_is_the_result_itself():
    y, cache = softmax(random(1, 3, 4))
    assert cache.y is y
