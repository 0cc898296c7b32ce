"""The residual sum: what goes straight through, what is dropped, which masks."""

import numpy as np
import pytest
from helpers.cases import random

from minivit.functions import (
    drop_path,
    dropout,
    layer_norm,
    layer_norm_backward,
    pre_norm,
    pre_norm_backward,
    residual,
    residual_backward,
)
from minivit.gradcheck.catalog import DROP_KEY


def test_gradients_of_a_stream_that_went_two_ways_add_up():
    z, g, b = random(3, 2, 3, 4), random(4, 4), random(5, 4)
    x, cache = pre_norm(z, g, b)
    assert np.array_equal(x, layer_norm(z, g, b)[0])
    dz, dx = random(1, 2, 3, 4), random(2, 2, 3, 4)
    before = dz.copy(), dx.copy()
    found, dg, db = pre_norm_backward(dz, dx, cache)
    through, *parameters = layer_norm_backward(dx, cache)
    assert np.array_equal(found, dz + through)
    assert np.array_equal([dg, db], parameters)
    assert np.array_equal([dz, dx], before)


@pytest.mark.parametrize("site", [0, 4])
def test_is_the_sum_of_the_stream_and_the_dropped_branch(site):
    z, x = random(1, 6, 3, 4), random(2, 6, 3, 4)
    branch = drop_path(dropout(x, 0.3, DROP_KEY.at(site))[0], 0.5, DROP_KEY.at(site + 1))[0]
    assert np.array_equal(residual(z, x, 0.3, 0.5, DROP_KEY.at(site))[0], z + branch)
    assert np.array_equal(residual(z, x, 0.3, 0.5, None)[0], z + x), "without a key nothing is dropped"


def test_the_stream_gets_the_gradient_itself():
    z, x, dy = (random(i, 6, 3, 4) for i in range(3))
    _, cache = residual(z, x, 0.3, 0.5, DROP_KEY)
    dz, dx = residual_backward(dy, cache)
    assert dz is dy
    assert 0 < (dx == 0).mean() < 1


def test_refuses_different_shapes():
    with pytest.raises(ValueError, match=r"stream z \(2, 3\) and the branch x \(3,\) need the same shape"):
        residual(random(1, 2, 3), random(2, 3), 0.0, 0.0, None)
