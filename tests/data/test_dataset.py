"""Held-out parts, channel statistics, normalisation."""

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minivit.data import Dataset, channel_statistics, hold_out, normalise, take
from minivit.errors import MinivitError


def numbered(count, classes=3):
    """A data set whose image i has the value i everywhere."""
    images = np.empty((count, 1, 2, 3), np.uint8)
    images[:] = np.arange(count)[:, None, None, None]
    labels = np.random.default_rng(1).integers(0, classes, count)
    return Dataset(images, labels, tuple("abc"[:classes]))


@given(st.integers(2, 200), st.data())
def test_hold_out_gives_every_image_to_one_part_in_order(total, data):
    count = data.draw(st.integers(1, total - 1))
    whole = numbered(total)
    train, held = hold_out(whole, count)
    mine, theirs = train.images[:, 0, 0, 0], held.images[:, 0, 0, 0]
    assert len(theirs) == count
    assert sorted([*mine, *theirs]) == list(range(total))
    assert (np.diff(mine.astype(int)) > 0).all()
    assert (np.diff(theirs.astype(int)) > 0).all()
    np.testing.assert_array_equal(held.labels, whole.labels[theirs])
    np.testing.assert_array_equal(train.labels, whole.labels[mine])


def test_hold_out_takes_each_classs_share():
    labels = np.repeat([0, 1, 2], [100, 50, 10])
    _, held = hold_out(Dataset(np.zeros((160, 1, 1, 1), np.uint8), labels, ("a", "b", "c")), 16)
    assert np.bincount(held.labels).tolist() == [10, 5, 1]


def test_hold_out_is_what_it_has_always_been():
    """Or training images of older runs would become images to choose by, and the other way round."""
    images = np.arange(20, dtype=np.uint8).reshape(20, 1, 1, 1)
    held = hold_out(Dataset(images, np.arange(20) % 3, ("a", "b", "c")), 5)[1]
    assert held.images.ravel().tolist() == [3, 4, 5, 6, 17]


def test_hold_out_is_the_same_every_time_but_no_simple_pattern():
    first, second = (hold_out(numbered(100), 20)[1].images[:, 0, 0, 0] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert len(set(np.diff(first.astype(int)))) > 3


@pytest.mark.parametrize("count", [-1, 0, 10, 11])
def test_hold_out_refuses_to_leave_a_part_empty(count):
    with pytest.raises(MinivitError, match=f"cannot hold out {count} of 10 images"):
        hold_out(numbered(10), count)


def test_take_copies():
    whole = numbered(5)
    part = take(whole, np.array([3, 1]))
    part.images[:] = 9
    assert whole.images[3, 0, 0, 0] == 3


def test_channel_statistics_agree_with_numpy_across_chunks():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2300, 3, 3, 5), np.uint8)
    images[:, 1] //= 3
    mean, std = channel_statistics(images)
    np.testing.assert_allclose(mean, (images / 255).mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std, (images / 255).std((0, 2, 3)), rtol=1e-12)
    assert all(type(v) is float for v in (*mean, *std))


def test_constant_images_have_a_std_that_can_divide():
    mean, std = channel_statistics(np.full((3, 2, 4, 4), 51, np.uint8))
    assert mean == pytest.approx((0.2, 0.2))
    assert std == (1 / 255, 1 / 255)
    assert np.abs(normalise(np.full((3, 2, 4, 4), 51, np.uint8), mean, std)).max() < 1e-4


def test_channel_statistics_of_nothing_are_refused():
    with pytest.raises(MinivitError, match="hold no pixel"):
        channel_statistics(np.zeros((0, 3, 4, 4), np.uint8))


@given(
    hnp.arrays(np.uint8, hnp.array_shapes(min_dims=4, max_dims=4, max_side=5)),
    st.sampled_from([np.float16, np.float32, np.float64]),
    st.integers(0, 1000),
)
def test_normalise_is_its_formula(images, dtype, seed):
    rng = np.random.default_rng(seed)
    mean, std = rng.random(images.shape[1]), 0.1 + rng.random(images.shape[1])
    before = images.copy()
    x = normalise(images, tuple(mean), tuple(std), dtype)
    expected = (images / 255 - mean[:, None, None]) / std[:, None, None]
    assert x.dtype == dtype
    np.testing.assert_allclose(x, expected, rtol=2 * np.finfo(dtype).eps, atol=30 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(images, before)


def test_normalise_rounds_once_whatever_the_type():
    """Every byte as float16: what would be computed in it is off by up to the roundings of all steps."""
    images = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    wide, narrow = (normalise(images, (0.47,), (0.21,), dtype) for dtype in (np.float64, np.float16))
    np.testing.assert_allclose(narrow, wide, rtol=0.51 * np.finfo(np.float16).eps, atol=1e-6)


def test_normalise_takes_a_view():
    images = np.random.default_rng(0).integers(0, 256, (4, 5, 3, 2), np.uint8).transpose(3, 2, 0, 1)[:, :, ::2]
    x = normalise(images, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    assert x.shape == (2, 3, 2, 5)
    np.testing.assert_allclose(x[1, 2], (images[1, 2] / 255 - 0.3) / 0.7, rtol=1e-5, atol=1e-6)


def test_normalise_names_the_channels_that_do_not_fit():
    with pytest.raises(MinivitError, match="3 channels each, got 1 and 3"):
        normalise(np.zeros((2, 3, 4, 4), np.uint8), (0.5,), (1.0, 1.0, 1.0))


def test_normalise_on_a_gpu(xp):
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 5), np.uint8)
    arguments = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    np.testing.assert_allclose(
        normalise(xp.asarray(images), *arguments).get(), normalise(images, *arguments), rtol=1e-6, atol=1e-6
    )
