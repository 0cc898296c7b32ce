"""A gradient that is off by a factor gets the factor, and its name where it has one."""

import numpy as np
import pytest
from bugs.functions import FUNCTION_BUGS
from helpers.cases import random
from helpers.spoiled import LINEAR, SQUARE, said

from minivit.gradcheck import check

FACTORS = [
    (5.0, "off by the factor 5 = T"),
    (1 / 5, "off by the factor 0.2 = 1 / T"),
    (-5.0, "off by the factor -5 = -T"),
    (6**0.5, "off by the factor 2.44949 = sqrt(F)"),
    (3**-0.5, "off by the factor 0.57735 = 1 / sqrt(B)"),
    (15.0, "off by the factor 15 = B * T"),
    (1 / 18, "off by the factor 0.0555556 = 1 / (B * F)"),
    (4 / 3, "off by the factor 1.33333 = D / (D - 1)"),
    (2.0, "off by the factor 2 = sqrt(D)"),
    (3.0, "off by the factor 3 = B"),
    (0.25, "off by the factor 0.25 = 1 / D"),
    (0.777, "off by the factor 0.777"),
    (-1.0, "the sign is wrong"),
    (0.0, "zero everywhere: it is never computed, or multiplied by 0"),
]


@pytest.mark.parametrize(("factor", "verdict"), FACTORS)
@pytest.mark.parametrize("method", ["complex_step", "central"])
def test_factors(factor, verdict, method):
    assert said(LINEAR, lambda g, dy, c: {"w": factor * g["w"]}, "w", method=method).startswith(verdict)


@pytest.mark.parametrize("method", ["directions", "adjoint"])
@pytest.mark.parametrize(("factor", "verdict"), FACTORS)
def test_factors_show_along_directions_too(factor, verdict, method):
    found = said(LINEAR, lambda g, dy, c: {"w": factor * g["w"]}, "w", method=method)
    assert found.startswith(verdict if factor else "zero")


@pytest.mark.parametrize("method", ["directions", "adjoint"])
def test_along_directions_other_mistakes_are_only_seen(method):
    found = said(SQUARE, lambda g, dy, c: {"w": g["w"].T}, "w", method=method)
    assert found == "wrong: <dy, J v> and <J' dy, v> differ; method='complex_step' tells how"


def test_a_factor_may_be_a_setting():
    def scaled(x, temperature):
        return x / temperature, temperature

    report = check(scaled, lambda dy, temperature: dy, (random(1, 3, 5), 0.7))
    assert report.worst.verdict == "off by the factor 0.7 = temperature"
    assert check(*_dropout_not_rescaled()).worst.verdict == "off by the factor 0.6 = 1 - rate"
    for n, c in ((3, 0.5), (5, 0.25)):  # more often 1 / 2 than 1 / (B - 1)
        report = check(scaled_by_itself, lambda dy, x, c=c: c * 2.0 * x * dy, (random(1, n, 7),))
        assert "- 1" not in report.worst.verdict
    for c, name in ((0.7 / 0.3, "share / (1 - share)"), (0.3 / 0.7, "(1 - share) / share")):
        report = check(lambda x, share: (x, share), lambda dy, share, c=c: c * dy, (random(1, 3, 5), 0.7))
        assert report.worst.verdict == f"off by the factor {c:.6g} = {name}"


def scaled_by_itself(x):
    """Square x (B, T)."""
    return x**2, x


def test_one_less_than_an_axis_is_named_where_that_is_no_plain_number():
    said = [
        check(scaled_by_itself, lambda dy, x, n=n: n * 2.0 * x * dy, (random(1, 3, 14),)).worst.verdict
        for n in (13.0, 1 / 13, 2.0)
    ]
    assert said == [
        "off by the factor 13 = T - 1",
        "off by the factor 0.0769231 = 1 / (T - 1)",
        "off by the factor 2",
    ]


def _dropout_not_rescaled():
    case, broken = FUNCTION_BUGS["dropout: not rescaled"]
    return case.f, broken, case.args


def test_without_letters_an_axis_is_named_by_its_argument():
    f = lambda x, w: (x @ w, (x, w))  # noqa: E731
    backward = lambda dy, c: (dy @ c[1].T, c[0].T @ dy / 5)  # noqa: E731
    assert check(f, backward, (random(1, 5, 4), random(2, 4, 3)))["dw"].verdict == (
        "off by the factor 0.2 = 1 / axis 0 of x"
    )


def scaled(x, scale):
    """Multiply x (B, D) by scale ()."""
    return x * scale, (x, scale)


def scaled_backward(dy, cache):
    x, scale = cache
    return dy * scale, np.asarray((dy * x).sum())


SCALED = (scaled, scaled_backward, (random(1, 3, 5), np.array(0.7)))


@pytest.mark.parametrize(
    ("c", "words"),
    [
        (0.7, "off by the factor 0.7 = scale"),
        (1 / 0.7, "off by the factor 1.42857 = 1 / scale"),
        (2.0, "off by the factor 2"),
        (0.5, "off by the factor 0.5"),
        (-1.0, "the sign is wrong"),
        (-1.234, "wrong: it is"),
    ],
)
def test_a_single_number_is_off_by_a_factor_only_if_that_has_a_name(c, words):
    """Any two numbers have a ratio. Of a whole array, one ratio for all its numbers says something."""
    f, f_backward, args = SCALED

    def broken(dy, cache):
        dx, dscale = f_backward(dy, cache)
        return dx, c * dscale

    assert check(f, broken, args)["dscale"].verdict.startswith(words)
    assert check(f, lambda dy, cache: (-1.234 * dy * cache[1], f_backward(dy, cache)[1]), args)["dx"].verdict == (
        "off by the factor -1.234"
    )


def test_a_plain_factor_is_no_root_of_an_axis_without_a_name():
    def f(x):
        return x**2, x

    assert check(f, lambda dy, x: 4.0 * x * dy, (random(1, 4, 9),))["dx"].verdict == "off by the factor 2"
    assert "= axis 1 of x" in check(f, lambda dy, x: 18.0 * x * dy, (random(1, 4, 9),))["dx"].verdict


@pytest.mark.parametrize(("factor", "length"), [(12, 13), (-2, 4)])
def test_a_function_of_an_axis_that_nobody_named_is_no_name(factor, length):
    report = check(lambda z: (np.sin(z), z), lambda dy, z: factor * dy * np.cos(z), (random(1, 3, length),))
    assert report.worst.verdict == f"off by the factor {factor}"


@pytest.mark.parametrize("size", [1e-6, 1e6])
def test_numbers_that_are_wrong_are_told_whatever_their_size(size):
    report = check(lambda z: (z**3, z), lambda dy, z: 3 * z * z * dy * (np.arange(5) > 0), (size * random(1, 3, 5),))
    assert report.worst.verdict == "right but for index 0 of axis 1, where it is 0"
