"""Patches: the order of every pixel, and that both directions only move numbers."""

import numpy as np
import pytest
from helpers.cases import random
from hypothesis import given
from hypothesis import strategies as st
from tolerances import ADJOINT

from minivit.functions import patchify, patchify_backward, unpatchify, unpatchify_backward

sizes = st.integers(1, 3)
# batch, channels, patch (height, width), grid (rows, columns)
layouts = st.tuples(sizes, sizes, st.tuples(sizes, sizes), st.tuples(sizes, sizes))


def test_the_example_of_the_paper():
    """A 48x48x3 image in patches of 16 is a row of 9 tokens of 768 numbers."""
    y, _ = patchify(random(1, 1, 3, 48, 48), (16, 16))
    assert y.shape == (1, 9, 768)


@pytest.mark.parametrize(
    ("image", "patch"), [((48, 48), (16, 16)), ((6, 10), (3, 2)), ((4, 9), (1, 9)), ((5, 3), (5, 1))]
)
def test_every_pixel_is_where_the_paper_puts_it(image, patch):
    """Patches row by row over the image; inside one: row, column, channel."""
    (height, width), (tall, wide), channels = image, patch, 3
    x = np.arange(2.0 * channels * height * width).reshape(2, channels, height, width)
    y, _ = patchify(x, patch)
    for b, c, i, j in np.ndindex(x.shape):
        token = (i // tall) * (width // wide) + j // wide
        place = ((i % tall) * wide + j % wide) * channels + c
        assert y[b, token, place] == x[b, c, i, j]


@given(layouts)
def test_each_direction_undoes_the_other(layout):
    batch, channels, (tall, wide), (rows, columns) = layout
    x = random(1, batch, channels, rows * tall, columns * wide)
    y, _ = patchify(x, (tall, wide))
    assert np.array_equal(unpatchify(y, x.shape[2:], (tall, wide))[0], x)


@given(layouts)
def test_the_backward_pass_is_the_adjoint(layout):
    """<f(x), y> = <x, f'(y)>, which for a linear map is the whole truth."""
    batch, channels, (tall, wide), (rows, columns) = layout
    x = random(1, batch, channels, rows * tall, columns * wide)
    y, cache = patchify(x, (tall, wide))
    dy = random(2, *y.shape)
    assert abs((y * dy).sum() - (x * patchify_backward(dy, cache)).sum()) <= ADJOINT * np.abs(y * dy).sum()
    back, cache = unpatchify(dy, x.shape[2:], (tall, wide))
    assert abs((back * x).sum() - (dy * unpatchify_backward(x, cache)).sum()) <= ADJOINT * np.abs(back * x).sum()


@pytest.mark.parametrize("patch", [(0, 2), (2, -1)])
def test_a_patch_without_pixels_is_named(patch):
    with pytest.raises(ValueError, match=r"patch size is \(.*\); expected pixels, 1 or more of each"):
        patchify(np.zeros((1, 3, 8, 10)), patch)


@pytest.mark.parametrize(("image", "patch"), [((8, 10), (3, 2)), ((9, 10), (3, 4)), ((8, 10), (16, 2))])
def test_a_patch_that_does_not_divide_the_image_is_named(image, patch):
    with pytest.raises(ValueError, match="does not divide image size") as error:
        patchify(np.zeros((1, 3, *image)), patch)
    assert str(image) in str(error.value)
    assert str(patch) in str(error.value)
    with pytest.raises(ValueError, match="does not divide image size"):
        unpatchify(np.zeros((1, 4, 12)), image, patch)


def test_other_axes_are_refused():
    with pytest.raises(ValueError, match=r"^patchify: x \(3, 8, 8\) needs the 4 axes \(B, C, H, W\)$"):
        patchify(np.zeros((3, 8, 8)), (4, 4))


@pytest.mark.parametrize("shape", [(2, 5, 12), (2, 4, 13), (4, 12), (2, 1, 4, 12)])
def test_patches_of_another_image_are_refused(shape):
    with pytest.raises(
        ValueError, match=r"^unpatchify: x .* needs shape \(B, 4, 4 \* C\) for image size \(4, 4\)"
    ) as error:
        unpatchify(np.zeros(shape), (4, 4), (2, 2))
    assert str(shape) in str(error.value)


def test_a_patch_size_that_is_no_pair_is_named():
    with pytest.raises(ValueError, match=r"^patch size is 4; expected \(height, width\), such as"):
        patchify(np.zeros((1, 3, 8, 8)), 4)
