"""The types that a pure pair keeps: float32 stays float32, and a gradient is of its argument's type."""

import numpy as np
import pytest
from helpers.cases import random
from helpers.spoiled import cube, cube_backward, named

from minivit.gradcheck import check


def widened(x):
    return x * np.sqrt(2.0), None


@pytest.mark.parametrize(
    ("f", "f_backward", "tensor"),
    [
        (widened, lambda dy, c: dy * 2.0**0.5, "y"),
        (lambda x: (x * 2.0**0.5, None), lambda dy, c: dy * np.sqrt(2.0), "dx"),
        (lambda x: (x * 2.0**0.5, None), lambda dy, c: (dy * 2.0**0.5).astype(np.float64), "dx"),
    ],
)
def test_a_pair_that_widens_float32(f, f_backward, tensor):
    """It is seen although the arguments given are float64."""
    seen, verdict = named(f, f_backward, random(1, 4))
    assert seen == tensor
    assert "is of float64 where" in verdict
    assert "math.sqrt" in verdict


def test_a_gradient_of_integers():
    report = check(lambda x: (x * 2.0, None), lambda dy, c: np.zeros(4, int), (random(1, 4),))
    assert report["dx"].verdict == "is of int64 where x is of float64: make it of x's type, as np.zeros_like does"


def test_wrong_numbers_are_told_before_a_wrong_type():
    report = check(lambda x: (x * 3.0, None), lambda dy, c: dy * np.sqrt(2.0), (random(1, 4),))
    assert [row.verdict[:10] for row in report.rows] == ["off by the"]


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_narrow_argument_may_have_a_float32_gradient_but_no_other(dtype):
    args = (random(1, 4).astype(dtype),)
    for wide, right in ((dtype, True), (np.float32, True), (np.float64, False)):
        report = check(cube, lambda dy, c, wide=wide: cube_backward(dy, c).astype(wide), args)
        assert report.passed == right
    narrow = check(cube, lambda dy, c: cube_backward(dy, c).astype(np.float16), (random(1, 4).astype(np.float32),))
    assert "is of float16 where x is of float32" in narrow.worst.verdict


def test_a_gradient_of_a_narrower_type():
    def backward(dy, cache):
        return (dy * np.float32(0.1)).astype(np.float32)

    verdict = check(lambda x: (x * 0.1, None), backward, (random(1, 4),)).worst.verdict
    assert verdict.startswith("is of float32 where x is of float64: a cast or an array of a narrower type")


def test_a_wider_argument_is_what_widens():
    args = (random(1, 3, 4).astype(np.float32), random(2, 4, 2))
    report = check(lambda x, w: (x @ w, (x, w)), lambda dy, c: (dy @ c[1].T, c[0].T @ dy), args)
    assert report.worst.verdict == (
        "is of float64 where x is of float32: w is of float64 and widens what it meets; give both in one type, or cast "
        "the gradient"
    )


def test_an_argument_that_is_not_so_wide_has_widened_nothing():
    args = (random(1, 3, 4).astype(np.float16), random(2, 3, 4).astype(np.float32))
    report = check(
        lambda x, w: (x * w, (x, w)), lambda dy, c: (dy * c[1] * np.ones(4), (dy * c[0]).astype(np.float32)), args
    )
    assert report.worst.verdict.startswith("is of float64 where x is of float16: np.sqrt(2.0), ")


def test_the_type_that_was_tried_as_well_is_said():
    wide = np.arange(4.0)
    verdict = check(lambda x: (x * wide, None), lambda dy, c: dy * wide, (random(1, 4),)).worst.verdict
    assert verdict.startswith("is of float64 where the arguments are of float32, in which it was tried as well: ")

    def backward(dy, cache):
        return dy * wide.astype(np.float64)

    verdict = check(lambda x: (x * wide.astype(x.dtype), None), backward, (random(1, 4),)).worst.verdict
    assert verdict.startswith("is of float64 where x is of float32, in which it was tried as well: ")


@pytest.mark.parametrize("kind", [lambda w: {"w": w}, lambda w: (w,), lambda w: [w]])
def test_parameters_inside_of_a_setting_are_tried_in_float32_too(kind):
    """They are arguments as well, of which no gradient is asked."""

    def f(x, parameters):
        (w,) = parameters.values() if isinstance(parameters, dict) else parameters
        return x @ w, w

    check(f, lambda dy, w: dy @ w.T, (random(1, 3, 4), kind(random(2, 4, 5)))).require()
