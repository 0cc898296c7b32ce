"""Random crop and flip."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minivit.data import random_crop_and_flip
from minivit.data.augment import crop_and_flip_moves
from minivit.errors import MinivitError
from minivit.randomness import Key

KEY = Key(3, "augment", epoch=1, step=7)


def pictures(*shape, seed=0):
    """Random images without a zero, so that padding can be told from the picture."""
    return np.random.default_rng(seed).integers(1, 256, shape, np.uint8)


@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 7), st.integers(1, 7), st.integers(0, 3), st.booleans())
def test_every_image_is_a_crop_of_its_padded_self(B, C, H, W, padding, flip):
    images = pictures(B, C, H, W)
    before = images.copy()
    out = random_crop_and_flip(images, KEY, padding, flip)
    assert (out.shape, out.dtype) == (images.shape, np.uint8)
    np.testing.assert_array_equal(images, before)
    for image, made in zip(images, out, strict=True):
        padded = np.pad(image, ((0, 0), (padding, padding), (padding, padding)))
        crops = [padded[:, i : i + H, j : j + W] for i in range(2 * padding + 1) for j in range(2 * padding + 1)]
        if flip:
            crops += [crop[..., ::-1] for crop in crops]
        assert any(np.array_equal(made, crop) for crop in crops)


def test_the_address_decides():
    images = pictures(16, 3, 8, 8)
    once = random_crop_and_flip(images, KEY)
    np.testing.assert_array_equal(once, random_crop_and_flip(images, KEY))
    for other in (KEY._replace(seed=4), KEY._replace(epoch=2), KEY._replace(step=8), KEY.at(1)):
        assert not np.array_equal(once, random_crop_and_flip(images, other))


def test_all_shifts_and_both_directions_occur_about_equally():
    images = np.zeros((4000, 1, 9, 11), np.uint8)
    images[:, :, 4, 5] = 255
    shifted = random_crop_and_flip(images, KEY, crop_padding=2, flip=False)
    rows, columns = np.nonzero(shifted[:, 0])[1:]
    counts = np.bincount((rows - 2) * 5 + columns - 3, minlength=25)
    assert counts.shape == (25,)
    assert counts.min() > 100
    ramp = np.broadcast_to(np.arange(4, dtype=np.uint8), (4000, 1, 2, 4))
    mirrored = random_crop_and_flip(ramp, KEY, crop_padding=0)[:, 0, 0, 0] == 3
    assert 1850 < mirrored.sum() < 2150


def test_images_of_one_batch_move_apart():
    images = np.broadcast_to(pictures(1, 3, 8, 8), (32, 3, 8, 8))
    out = random_crop_and_flip(images, KEY)
    assert len(np.unique(out.reshape(32, -1), axis=0)) > 20


def test_each_part_can_be_switched_off_alone():
    images = pictures(64, 3, 6, 8)
    both = random_crop_and_flip(images, KEY)
    crop = random_crop_and_flip(images, KEY, flip=False)
    flip = random_crop_and_flip(images, KEY, crop_padding=0)
    mirrored = (flip != images).any((1, 2, 3))
    assert 0 < mirrored.sum() < 64
    np.testing.assert_array_equal(flip[mirrored], images[mirrored][..., ::-1])
    np.testing.assert_array_equal(both[mirrored], crop[mirrored][..., ::-1])
    np.testing.assert_array_equal(both[~mirrored], crop[~mirrored])


def test_with_both_off_a_copy_comes_back():
    images = pictures(2, 3, 4, 4)
    out = random_crop_and_flip(images, KEY, 0, False)
    np.testing.assert_array_equal(out, images)
    assert not np.shares_memory(out, images)


def test_a_view_is_taken():
    images = pictures(6, 8, 3, 5).transpose(3, 2, 1, 0)
    np.testing.assert_array_equal(
        random_crop_and_flip(images, KEY), random_crop_and_flip(np.ascontiguousarray(images), KEY)
    )


def test_negative_padding_is_refused():
    with pytest.raises(MinivitError, match="crop_padding -1 is negative"):
        random_crop_and_flip(pictures(1, 1, 4, 4), KEY, -1)


def test_a_gpu_sees_the_same_images(xp):
    images = pictures(16, 3, 8, 10)
    np.testing.assert_array_equal(
        random_crop_and_flip(xp.asarray(images), KEY).get(), random_crop_and_flip(images, KEY)
    )


def test_the_first_moves_are_these_for_ever():
    top, left, mirrored = crop_and_flip_moves(4, Key(3, "augment", 1, 2), 4)
    assert (top.tolist(), left.tolist()) == ([6, 7, 0, 3], [5, 0, 7, 5])
    assert mirrored.tolist() == [False, False, True, True]
