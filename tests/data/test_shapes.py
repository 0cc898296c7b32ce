"""The built-in data set."""

import numpy as np
import pytest

from minivit.data import shapes, shapes_splits
from minivit.data.shapes import CHUNK, CLASSES, LUMA, _colours
from minivit.errors import MinivitError
from minivit.randomness import Key, generator

# Of the first ten training images.
LABELS = [7, 3, 6, 5, 1, 0, 8, 4, 9, 2]
BRIGHTNESS = [97.08, 72.878, 108.074, 80.401, 109.896, 90.387, 38.533, 60.278, 77.547, 88.269]
MIDDLE = [
    [210, 210, 194], [198, 104, 219], [105, 231, 249], [184, 164, 213], [149, 230, 141],
    [176, 167, 245], [216, 152, 25], [61, 64, 31], [232, 124, 184], [234, 153, 48],
]  # fmt: skip


@pytest.fixture(scope="module")
def splits():
    return shapes_splits()


def test_sizes_types_and_balance(splits):
    for part, count in ((splits.train, 10_000), (splits.validation, 1_000), (splits.test, 2_000)):
        assert (part.images.shape, part.images.dtype) == ((count, 3, 32, 32), np.uint8)
        assert part.labels.dtype == np.int64
        assert np.bincount(part.labels).tolist() == [count // 10] * 10
        assert part.classes == CLASSES
    assert len(set(CLASSES)) == 10
    assert splits.notes == ()


def test_no_image_occurs_twice(splits):
    seen = {image.tobytes() for part in splits[:3] for image in part.images}
    assert len(seen) == 13_000


@pytest.mark.parametrize("count", [1, 7, CHUNK, CHUNK + 13])
def test_image_i_does_not_depend_on_the_count(count, splits):
    few = shapes(count, seed=0)
    np.testing.assert_array_equal(few.images, splits.train.images[:count])
    np.testing.assert_array_equal(few.labels, splits.train.labels[:count])
    assert np.bincount(few.labels, minlength=10).max() <= -(-count // 10)


def test_the_seed_decides(splits):
    assert not np.array_equal(shapes(10, 1).images, splits.train.images[:10])


def test_labels_are_in_no_fixed_order(splits):
    tens = splits.train.labels.reshape(-1, 10)
    assert len(np.unique(tens, axis=0)) > 900


def test_images_are_what_they_have_always_been(splits):
    """Or the results that were recorded would be of other images. A CPU may round a byte here and there otherwise."""
    assert splits.train.labels[:10].tolist() == LABELS
    np.testing.assert_allclose(splits.train.images[:10].mean((1, 2, 3)), BRIGHTNESS, atol=0.01)
    np.testing.assert_allclose(splits.train.images[:10, :, 16, 16].astype(int), MIDDLE, atol=1)


def test_a_shape_is_brighter_than_what_is_behind_it():
    """By two fifths of all that can be seen; some are by hardly more."""
    background, foreground = _colours(generator(Key(0, "shapes")))
    more = foreground @ LUMA - background @ LUMA
    assert more.min() == pytest.approx(0.4, abs=1e-5)
    assert 0 <= foreground.min() <= foreground.max() <= 1


@pytest.mark.parametrize("size", [16, 33, 64])
def test_other_sizes_show_the_same_scene(size, splits):
    other = shapes(20, 0, size)
    assert other.images.shape == (20, 3, size, size)
    np.testing.assert_array_equal(other.labels, splits.train.labels[:20])
    np.testing.assert_allclose(
        other.images.mean((2, 3)), splits.train.images[:20].mean((2, 3)), atol=4, err_msg="mean colours"
    )


def test_a_linear_classifier_does_not_solve_it(splits):
    """Ridge regression on the pixels, the best of four strengths: far below what sees shapes."""
    x, y = splits.train.images[:5000].reshape(5000, -1) / np.float32(255), splits.train.labels[:5000]
    z = splits.test.images[:1000].reshape(1000, -1) / np.float32(255)
    mean = x.mean(0)
    x, z = x - mean, z - mean
    gram, against = x.T @ x, x.T @ (np.eye(10, dtype=np.float32)[y] - np.float32(0.1))
    accuracy = []
    for strength in (10, 100, 1000, 10000):
        weights = np.linalg.solve(gram + strength * np.eye(3072, dtype=np.float32), against)
        accuracy.append(((z @ weights).argmax(1) == splits.test.labels[:1000]).mean())
    assert 0.1 < max(accuracy) < 0.6


def test_impossible_requests_are_refused():
    with pytest.raises(MinivitError, match="count 0 is below 1"):
        shapes(0, 0)
    with pytest.raises(MinivitError, match="size 15 is too small"):
        shapes(1, 0, 15)
