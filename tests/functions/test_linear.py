"""y = x w + b."""

import numpy as np
import pytest
from helpers.cases import assert_close, random
from tolerances import SAME_FORMULA

from minivit.functions import linear, linear_backward


def test_each_token_is_mapped_alone():
    x, w, b = random(1, 2, 3, 4), random(2, 4, 5), random(3, 5)
    y, _ = linear(x, w, b)
    for i in np.ndindex(2, 3):
        assert_close(y[i], x[i] @ w + b, SAME_FORMULA)


def test_a_small_one_by_hand():
    """x = (1, 2), w = ((1, 0, 3), (0, 1, 1)), b = (10, 20, 30); dy = (1, 10, 100)."""
    y, cache = linear(
        np.array([[1.0, 2.0]]), np.array([[1.0, 0.0, 3.0], [0.0, 1.0, 1.0]]), np.array([10.0, 20.0, 30.0])
    )
    assert y.tolist() == [[11.0, 22.0, 35.0]]
    dx, dw, db = linear_backward(np.array([[1.0, 10.0, 100.0]]), cache)
    assert dx.tolist() == [[301.0, 110.0]]
    assert dw.tolist() == [[1.0, 10.0, 100.0], [2.0, 20.0, 200.0]]
    assert db.tolist() == [1.0, 10.0, 100.0]


def test_parameter_gradients_add_up_over_all_tokens():
    """Two copies of a batch: twice the gradient of w and b, the same of x."""
    x, w, b, dy = random(1, 3, 5, 4), random(2, 4, 6), random(3, 6), random(4, 3, 5, 6)
    dx, dw, db = linear_backward(dy, linear(x, w, b)[1])
    dx2, dw2, db2 = linear_backward(np.concatenate([dy, dy]), linear(np.concatenate([x, x]), w, b)[1])
    assert_close(dx2[:3], dx, SAME_FORMULA)
    assert_close(dw2, 2 * dw, SAME_FORMULA)
    assert_close(db2, 2 * db, SAME_FORMULA)


def test_float16_parameter_gradients_are_summed_in_float32():
    """4096 tokens of 1: a float16 sum would stop at 2048, where adding 1 no longer counts."""
    x, w, b = np.ones((1, 4096, 1), np.float16), np.ones((1, 1), np.float16), np.zeros(1, np.float16)
    _, dw, db = linear_backward(np.ones((1, 4096, 1), np.float16), linear(x, w, b)[1])
    assert dw.item() == db.item() == 4096.0


def test_the_cache_keeps_the_arrays_themselves():
    x, w = random(1, 2, 3), random(2, 3, 4)
    cache = linear(x, w, random(3, 4))[1]
    assert cache.x is x
    assert cache.w is w


@pytest.mark.parametrize(
    ("x", "w", "b"),
    [
        ((2, 5, 7), (6, 4), (4,)),
        ((2, 5, 7), (7, 4), (5,)),
        ((2, 5, 7), (7,), (7,)),
        ((2, 5, 7), (7, 4), (1, 4)),
        ((2, 5, 7), (1, 7, 4), (4,)),
    ],
)
def test_shapes_that_do_not_fit_are_named(x, w, b):
    with pytest.raises(ValueError, match=r"^linear: x \(2, 5, 7\) needs w of shape \(7, D_out\)") as error:
        linear(np.zeros(x), np.zeros(w), np.zeros(b))
    assert str(w) in str(error.value)
    assert str(b) in str(error.value)


def test_a_number_in_place_of_x_is_refused_with_the_same_sentence():
    with pytest.raises(ValueError, match=r"^linear: x \(\) needs w"):
        linear(np.array(1.0), np.zeros((7, 4)), np.zeros(4))
