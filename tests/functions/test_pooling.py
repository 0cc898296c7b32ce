"""Pooling: the class token, or the mean of all tokens."""

import numpy as np
import pytest
from helpers.cases import assert_close, random
from tolerances import SAME_FORMULA

from minivit.functions import (
    first_tokens,
    first_tokens_backward,
    pool_class_token,
    pool_class_token_backward,
    pool_mean,
    pool_mean_backward,
)
from minivit.functions.pooling import PoolingCache


def test_the_class_token_alone_gets_the_gradient():
    x, dy = random(1, 3, 5, 4), random(2, 3, 4)
    y, cache = pool_class_token(x)
    assert np.shares_memory(y, x)
    assert np.array_equal(y, x[:, 0])
    dx = pool_class_token_backward(dy, cache)
    assert np.array_equal(dx[:, 0], dy)
    assert np.all(dx[:, 1:] == 0.0)


@pytest.mark.parametrize("count", [1, 3, 5])
def test_the_first_tokens_alone_get_the_gradient(count):
    x, dy = random(1, 3, 5, 4), random(2, 3, count, 4)
    y, cache = first_tokens(x, count)
    assert np.shares_memory(y, x)
    assert np.array_equal(y, x[:, :count])
    dx = first_tokens_backward(dy, cache)
    assert np.array_equal(dx[:, :count], dy)
    assert np.all(dx[:, count:] == 0.0)


@pytest.mark.parametrize("count", [0, -1, 6])
def test_tokens_that_are_not_there_cannot_be_taken(count):
    with pytest.raises(ValueError, match=rf"count is {count}; x \(3, 5, 4\) has 5 tokens, expected 1 to as many"):
        first_tokens(random(1, 3, 5, 4), count)


def test_every_token_gets_its_share_of_the_gradient():
    x, dy = random(1, 3, 5, 4), random(2, 3, 4)
    y, cache = pool_mean(x)
    assert_close(y, sum(x[:, t] for t in range(5)) / 5, SAME_FORMULA)
    dx = pool_mean_backward(dy, cache)
    for t in range(5):
        assert np.array_equal(dx[:, t], dy / 5)


def test_the_gradient_keeps_its_type_whatever_a_quotient_has():
    """A number of NumPy's own widens a quotient; in NumPy 2.1 any number widens one of bfloat16."""
    dy = random(2, 3, 4).astype(np.float32)
    assert pool_mean_backward(dy, PoolingCache(np.int64(5))).dtype == np.float32


def test_a_float16_mean_is_summed_in_float32():
    """4096 tokens of 1: a float16 sum would stop at 2048 and give 0.5."""
    y, _ = pool_mean(np.ones((1, 4096, 1), np.float16))
    assert y.dtype == np.float16
    assert y.item() == 1.0


@pytest.mark.parametrize(("pool", "name"), [(pool_class_token, "first_tokens"), (pool_mean, "pool_mean")])
def test_tokens_without_a_batch_are_refused(pool, name):
    with pytest.raises(ValueError, match=rf"^{name}: x \(5, 7\) needs the 3 axes"):
        pool(np.zeros((5, 7)))
