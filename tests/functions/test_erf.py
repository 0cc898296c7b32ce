"""erf: every stretch of the line within 4 units in the last place of math.erf, and its edges exactly."""

import math

import array_api_strict
import numpy as np
import pytest
from helpers.cases import assert_close, untidy
from hypothesis import given
from hypothesis import strategies as st
from tolerances import COMPLEX_STEP, ERF_ULP, FORWARD, STRICT_ARRAYS

from minivit.functions.erf import erf


def error_in_ulp(x: np.ndarray) -> float:
    expected = np.array([math.erf(v) for v in x])
    return float((np.abs(erf(x) - expected) / np.spacing(np.abs(expected))).max())


@pytest.mark.parametrize(
    ("start", "stop"),
    [
        (0.0, 0.46875),
        (0.46875, 0.477),
        (0.46875, 1.0),
        (1.0, 4.0),
        (3.9, 4.1),
        (4.0, 7.5),
        (-7.5, -4.0),
        (-4.0, -0.46875),
        (-0.5, 0.5),
    ],
)
def test_within_4_units_in_the_last_place(start, stop):
    assert error_in_ulp(np.linspace(start, stop, 20_001)) <= ERF_ULP


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=50))
def test_within_4_units_anywhere(x):
    """Subnormal numbers too, whose erf is 2 / sqrt(pi) times themselves."""
    assert error_in_ulp(np.array(x)) <= ERF_ULP


def test_tiny_numbers_keep_their_relative_precision():
    assert error_in_ulp(np.logspace(-320, -1, 3201)) <= ERF_ULP


def test_at_the_seams_of_the_rational_functions():
    seams = np.array([0.46875, 0.4769, 4.0, 7.0])
    around = np.concatenate([seams, np.nextafter(seams, 0), np.nextafter(seams, 9)])
    assert error_in_ulp(np.concatenate([around, -around])) <= ERF_ULP


def test_far_out_it_is_exactly_1_without_overflow():
    x = np.array([6.0, 7.0, 27.0, 1e3, 1e155, 1e300, np.inf])
    assert np.all(erf(x) == 1.0)
    assert np.all(erf(-x) == -1.0)


def test_zero_keeps_its_sign_and_nan_stays():
    assert erf(np.array([0.0])).item() == 0.0
    assert math.copysign(1.0, erf(np.array([-0.0])).item()) == -1.0
    assert np.isnan(erf(np.array([np.nan, 1.0]))).tolist() == [True, False]


def test_odd_to_the_last_bit():
    x = np.linspace(0, 8, 1001)
    assert np.array_equal(erf(-x), -erf(x))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_dtype_shape_and_argument_are_kept(dtype):
    x = untidy(np.linspace(-4, 4, 105).reshape(3, 5, 7).astype(dtype))
    before = x.copy()
    y = erf(x)
    assert y.dtype == dtype
    assert np.array_equal(x, before)
    assert_close(y, np.vectorize(math.erf)(x.astype(np.float64)), FORWARD[np.dtype(dtype)])


def test_a_complex_step_gives_its_derivative():
    """erf'(x) = 2 / sqrt(pi) exp(-x^2), in all three stretches and on both sides."""
    x = np.linspace(-6, 6, 2401)
    found = erf(x + 1e-30j).imag / 1e-30
    assert_close(found, 2 / math.sqrt(math.pi) * np.exp(-x * x), COMPLEX_STEP)


def test_nothing_but_the_array_standard_is_used():
    x = np.linspace(-8, 8, 101)
    assert_close(np.asarray(erf(array_api_strict.asarray(x))), erf(x), STRICT_ARRAYS)
