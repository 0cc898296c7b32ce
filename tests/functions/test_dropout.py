"""Dropout and drop path: masks by address, the mean preserved, and nothing remembered."""

import numpy as np
import pytest
from helpers.cases import DROP_KEY, random

from minivit.functions import drop_path, drop_path_backward, dropout, dropout_backward
from minivit.randomness import uniform

both = pytest.mark.parametrize(("f", "f_backward"), [(dropout, dropout_backward), (drop_path, drop_path_backward)])


@both
def test_each_number_is_dropped_or_scaled(f, f_backward):
    x = random(1, 50, 3, 4)
    y, cache = f(x, 0.3, DROP_KEY)
    assert np.all((y == 0.0) | (np.abs(y - x / 0.7) <= 2e-16 * np.abs(x) * 2))
    assert 0 < (y == 0.0).mean() < 1
    assert np.array_equal(f_backward(x, cache), y), "the same mask and scale go forward and back"


def test_drop_path_takes_out_whole_images():
    y, cache = drop_path(np.ones((200, 3, 4)), 0.3, DROP_KEY)
    whole = y.reshape(200, -1)
    assert np.all(whole.min(1) == whole.max(1))
    assert cache.mask.shape == (200, 1, 1)
    assert 0.2 < (whole[:, 0] == 0).mean() < 0.4


def test_dropout_drops_each_number_alone():
    y, _ = dropout(np.ones((30, 40, 50)), 0.3, DROP_KEY)
    for axis in ((1, 2), (0, 2), (0, 1)):
        share = (y == 0).mean(axis)
        assert 0.2 < share.min() < share.max() < 0.4


def test_a_number_drawn_as_large_as_the_rate_is_kept():
    """Numbers in [0, 1): those below the rate are its share."""
    drawn = uniform(DROP_KEY, (50,))
    y, _ = dropout(np.ones(50), float(drawn[7]), DROP_KEY)
    assert y[7] != 0.0
    assert np.array_equal(y == 0.0, drawn < drawn[7])


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@both
def test_the_mean_is_preserved(f, f_backward, rate):
    """60000 draws: the mean of y / x is 1 within five standard deviations, sqrt(rate / (1 - rate) / n) each."""
    n = 60_000
    y, _ = f(np.ones((n, 1)), rate, DROP_KEY)
    assert abs(y.mean() - 1.0) < 5 * (rate / (1 - rate) / n) ** 0.5


@both
def test_without_rate_or_key_x_itself_comes_back(f, f_backward):
    x = random(1, 3, 4, 5)
    for rate, key in [(0.0, DROP_KEY), (0.5, None), (0.0, None)]:
        y, cache = f(x, rate, key)
        assert y is x
        assert cache.mask is None
        assert f_backward(x, cache) is x


@both
def test_an_address_is_a_mask(f, f_backward):
    """The same address, the same mask; another site, step, epoch or seed, another mask."""
    x = np.ones((64, 2, 2))
    first = f(x, 0.5, DROP_KEY)[0]
    np.random.seed(7)  # noqa: NPY002  (that the global state does not matter is what is tested)
    assert np.array_equal(f(x, 0.5, DROP_KEY)[0], first)
    for other in (
        DROP_KEY.at(1),
        DROP_KEY._replace(step=9),
        DROP_KEY._replace(epoch=9),
        DROP_KEY._replace(seed=9),
        DROP_KEY._replace(purpose="augment"),
    ):
        assert not np.array_equal(f(x, 0.5, other)[0], first)


@pytest.mark.parametrize("shape", [(13, 3, 5), (13, 1, 8), (13,), (13, 1)])
@both
def test_a_batch_in_parts_has_the_masks_of_the_whole(f, f_backward, shape):
    """Wherever it is cut; 15 numbers an image are no whole number of blocks of the generator."""
    x = random(2, *shape)
    whole = f(x, 0.5, DROP_KEY)[0]
    for cuts in ([4], [1, 2, 12], [5, 9]):
        parts = np.split(x, cuts)
        found = [f(part, 0.5, DROP_KEY._replace(image=at))[0] for part, at in zip(parts, [0, *cuts], strict=True)]
        assert np.array_equal(np.concatenate(found), whole)


@both
def test_the_global_state_is_left_alone(f, f_backward):
    np.random.seed(7)  # noqa: NPY002
    expected = np.random.random(3)  # noqa: NPY002
    np.random.seed(7)  # noqa: NPY002
    y, cache = f(np.ones((8, 3)), 0.5, DROP_KEY)
    f_backward(y, cache)
    assert np.array_equal(np.random.random(3), expected)  # noqa: NPY002


@both
def test_the_cache_outlives_other_calls(f, f_backward):
    """Evaluating, or dropping elsewhere, between forward and backward changes nothing."""
    x = random(1, 32, 3)
    y, cache = f(x, 0.5, DROP_KEY)
    f(x, 0.5, DROP_KEY.at(5))
    f(x, 0.5, None)
    assert np.array_equal(f_backward(x, cache), y)


@both
def test_every_dtype_gets_the_same_mask(f, f_backward):
    masks = [f(np.ones((64, 3), dtype), 0.5, DROP_KEY)[1].mask for dtype in (np.float16, np.float32, np.float64)]
    assert np.array_equal(masks[0], masks[1])
    assert np.array_equal(masks[0], masks[2])


@both
@pytest.mark.parametrize("rate", [1.0, -0.1, 1.5, float("nan")])
def test_a_rate_outside_its_range_is_named(f, f_backward, rate):
    with pytest.raises(ValueError, match=rf"rate {rate} is not in \[0, 1\)"):
        f(np.zeros((2, 3)), rate, None)
