"""The MLP: its four steps in order, and every option passed on."""

import numpy as np
import pytest
from helpers.cases import DROP_KEY, assert_close, random
from tolerances import SAME_FORMULA

from minivit.functions import dropout, gelu, linear, mlp


def weights(seed, width, hidden):
    return (
        random(seed, width, hidden),
        random(seed + 1, hidden),
        random(seed + 2, hidden, width),
        random(seed + 3, width),
    )


@pytest.mark.parametrize("form", ["tanh", "erf"])
@pytest.mark.parametrize("rate", [0.0, 0.4])
def test_the_steps_in_order(form, rate):
    x, (w1, b1, w2, b2) = random(9, 2, 3, 5), weights(1, 5, 7)
    h = dropout(gelu(linear(x, w1, b1)[0], form)[0], rate, DROP_KEY)[0]
    assert_close(mlp(x, w1, b1, w2, b2, form, rate, DROP_KEY)[0], linear(h, w2, b2)[0], SAME_FORMULA)


def test_dropout_falls_on_the_hidden_numbers():
    """With rate 0.5 and a large batch about half of the hidden numbers are dropped, and y is never exactly b2."""
    x, p = random(9, 50, 3, 5), weights(1, 5, 7)
    y, cache = mlp(x, *p, "tanh", 0.5, DROP_KEY)
    assert cache.dropout.mask.shape == (50, 3, 7)
    assert np.any(y != mlp(x, *p)[0])
    assert np.array_equal(mlp(x, *p, "tanh", 0.5, None)[0], mlp(x, *p)[0]), "no key: nothing is dropped"


def test_each_token_is_mapped_alone():
    x, p = random(9, 2, 3, 5), weights(1, 5, 7)
    y, _ = mlp(x, *p)
    for i in np.ndindex(2, 3):
        assert_close(y[i], mlp(x[i], *p)[0], SAME_FORMULA)


def test_shapes_that_do_not_fit_are_named_by_the_layer_that_meets_them():
    with pytest.raises(ValueError, match=r"^linear: x \(2, 3, 5\) needs w"):
        mlp(np.zeros((2, 3, 5)), np.zeros((4, 7)), np.zeros(7), np.zeros((7, 5)), np.zeros(5))
    with pytest.raises(ValueError, match=r"^linear: x \(2, 3, 7\) needs w"):
        mlp(np.zeros((2, 3, 5)), np.zeros((5, 7)), np.zeros(7), np.zeros((6, 5)), np.zeros(5))
    with pytest.raises(ValueError, match=r"^gelu: form 'relu'"):
        mlp(np.zeros((2, 3, 5)), np.zeros((5, 7)), np.zeros(7), np.zeros((7, 5)), np.zeros(5), "relu")
