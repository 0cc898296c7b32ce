"""Where the method itself is at its limit: vanishing powers, numbers whose squares are none."""

import numpy as np
import pytest
from helpers.cases import random

from minivit.gradcheck import check


@pytest.mark.parametrize("scale", [1e-170, 1e-100, 1e100, 1e170])
def test_numbers_whose_squares_are_no_numbers(scale):
    """Norms are scaled: a wrong gradient is seen, and a right one is right, at any size."""
    f, args = lambda x: (x * scale, None), (random(1, 4),)
    with np.errstate(all="ignore"):
        assert check(f, lambda dy, c: dy * scale, args).passed
        assert check(f, lambda dy, c: dy * scale * 1.5, args).error == pytest.approx(0.5)


@pytest.mark.parametrize("power", [3, 4, 6])
def test_taylor_where_the_lower_powers_vanish(power):
    """At 0 the remainder of x^n falls with h^n; a wrong gradient's, with h."""

    def f(x):
        return x**power, x

    def f_backward(dy, x):
        return power * x ** (power - 1) * dy

    check(f, f_backward, (np.zeros(3),), method="taylor").require()
    wrong = check(f, lambda dy, x: f_backward(dy, x) + 1e-3 * dy, (np.zeros(3),), method="taylor")
    assert not wrong.passed
