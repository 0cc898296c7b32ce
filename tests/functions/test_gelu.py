"""GELU in both forms: against math.erf and math.tanh, in the tails, and each form with its own derivative."""

import math

import numpy as np
import pytest
from helpers.cases import assert_close, random
from hypothesis import strategies as st
from tolerances import FORWARD, SAME_FORMULA

from minivit.functions import gelu, gelu_backward

every_form = pytest.mark.parametrize("form", ["tanh", "erf"])
forms = st.sampled_from(["tanh", "erf"])


def by_math(x: float, form: str) -> float:
    if form == "erf":
        return x * 0.5 * (1 + math.erf(x / math.sqrt(2)))
    return x * 0.5 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


@every_form
def test_values_agree_with_the_math_module(form):
    x = np.linspace(-8, 8, 4001)
    expected = np.array([by_math(v, form) for v in x])
    found, _ = gelu(x, form)
    assert_close(found, expected, SAME_FORMULA)
    assert np.abs(found - expected).max() < 4e-15  # 1 + erf cancels in the left tail: an absolute bound


@every_form
def test_slope_in_both_tails_is_absolutely_right(form):
    """The left tail is 0, the right one 1: compared with math.erf and exp, which keep their digits there."""
    x = np.concatenate([np.linspace(-40, -5, 701), np.linspace(5, 40, 701)])
    slope = gelu_backward(np.ones_like(x), gelu(x, form)[1])
    cdf = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in x])
    exact = cdf + x * np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    # The tanh form is an approximation: its slope differs from the erf form's by up to 6e-5 beyond |x| = 5.
    assert np.abs(slope - exact).max() < (1e-15 if form == "erf" else 1e-4)
    assert np.abs(slope[x < -20]).max() < 1e-80
    assert np.abs(slope[x > 20] - 1.0).max() == 0.0


@every_form
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_large_numbers_pass_or_vanish(form, dtype):
    x = np.array([1e4, -1e4, 6e4, -6e4, 0.0, -0.0], dtype)
    y, cache = gelu(x, form)
    assert np.array_equal(y, [x[0], 0, x[2], 0, 0, 0])
    assert np.array_equal(gelu_backward(np.ones_like(x), cache), [1, 0, 1, 0, 0.5, 0.5])


@every_form
def test_known_facts(form):
    """gelu(0) = 0 with slope 1/2; gelu(x) - gelu(-x) = x."""
    x = random(1, 50, scale=3.0)
    assert gelu(np.zeros(1), form)[0].item() == 0.0
    assert gelu_backward(np.ones(1), gelu(np.zeros(1), form)[1]).item() == 0.5
    assert_close(gelu(x, form)[0] - gelu(-x, form)[0], x, SAME_FORMULA)


def test_the_forms_differ_and_the_default_is_tanh():
    x = random(1, 50)
    tanh, erf = gelu(x, "tanh")[0], gelu(x, "erf")[0]
    assert 1e-5 < np.abs(tanh - erf).max() < 5e-4
    assert np.array_equal(gelu(x)[0], tanh)


@every_form
def test_float16_is_computed_in_float32(form):
    x = random(1, 500).astype(np.float16)
    y, cache = gelu(x, form)
    assert cache.phi.dtype == np.float32
    # Rounded once, at the end: at most half a unit in the last place (and a bit) from the exact value.
    exact = gelu(x.astype(np.float64), form)[0]
    assert np.all(np.abs(y - exact) <= 0.51 * np.spacing(np.abs(exact).astype(np.float16)))
    assert_close(y, exact, FORWARD[np.dtype(np.float16)])


def test_an_unknown_form_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"^gelu: form 'relu' is not one of tanh, erf$"):
        gelu(np.zeros(3), "relu")
