"""Gradients of another shape than their argument's: the sentence says what became of its axes."""

import numpy as np
import pytest
from helpers.cases import random
from helpers.spoiled import LINEAR, said

from minivit.gradcheck import check

SHAPES = [
    (lambda g, dy, c: {"w": g["w"].T}, "w", "has shape (6, 4) where the argument has (4, 6): transposed"),
    (
        lambda g, dy, c: {"b": dy.sum(1)},
        "b",
        "has shape (3, 6) where the argument has (6,): not summed over the batch",
    ),
    (
        lambda g, dy, c: {"b": dy.sum(0)},
        "b",
        "has shape (5, 6) where the argument has (6,): not summed over the first axis",
    ),
    (
        lambda g, dy, c: {"b": dy.sum(0).T},
        "b",
        "has shape (6, 5) where the argument has (6,): not summed over its axis 1",
    ),
    (
        lambda g, dy, c: {"b": dy.transpose(0, 2, 1)},
        "b",
        "has shape (3, 6, 5) where the argument has (6,): not summed over its axis 0 and axis 2",
    ),
    (
        lambda g, dy, c: {"b": dy},
        "b",
        "has shape (3, 5, 6) where the argument has (6,): not summed over the first 2 axes",
    ),
    (
        lambda g, dy, c: {"b": dy.sum((0, 1), keepdims=True)[0]},
        "b",
        "has shape (1, 6) where the argument has (6,): the right numbers, with an axis of length 1 too many: "
        "keepdims=True?",
    ),
    (
        lambda g, dy, c: {"b": dy.sum((0, 1), keepdims=True)},
        "b",
        "has shape (1, 1, 6) where the argument has (6,): the right numbers, with 2 axes of length 1 too many: "
        "keepdims=True?",
    ),
    (
        lambda g, dy, c: {"x": g["x"][:, :, None]},
        "x",
        "has shape (3, 5, 1, 4) where the argument has (3, 5, 4): "
        "the right numbers, with an axis of length 1 too many: keepdims=True?",
    ),
    (
        lambda g, dy, c: {"b": dy.mean((0, 1), keepdims=True)[0]},
        "b",
        "has shape (1, 6) where the argument has (6,)",
    ),
    (
        lambda g, dy, c: {"x": g["x"].reshape(15, 4)},
        "x",
        "has shape (15, 4) where the argument has (3, 5, 4): the right numbers, to be reshaped",
    ),
    (lambda g, dy, c: {"x": g["x"][:2]}, "x", "has shape (2, 5, 4) where the argument has (3, 5, 4)"),
    (lambda g, dy, c: {"b": g["b"].sum()}, "b", "has shape () where the argument has (6,)"),
]


@pytest.mark.parametrize(("change", "tensor", "verdict"), SHAPES)
def test_shapes(change, tensor, verdict):
    assert said(LINEAR, change, tensor) == verdict


def test_a_single_number_in_an_array_is_told_its_shape():
    def scaled(x, scale):
        return x * scale, (x, scale)

    def broken(dy, cache):
        return dy * cache[1], np.array([(dy * cache[0]).sum()])

    verdict = check(scaled, broken, (random(1, 3, 5), np.array(0.7)))["dscale"].verdict
    assert verdict.endswith(
        "(1,) where the argument has (): the right numbers, with an axis of length 1 too many: keepdims=True?"
    )


def test_of_a_batch_of_one_image_the_axis_may_not_have_been_summed():
    f, f_backward, args = LINEAR
    report = check(f, lambda dy, c: (*f_backward(dy, c)[:2], dy.sum(1)), (args[0][:1], *args[1:]))
    assert report["db"].verdict.endswith("not summed over the batch")


def test_of_as_many_tokens_as_images_the_axis_that_was_summed_is_not_guessed():
    f, f_backward, args = LINEAR
    report = check(f, lambda dy, c: (*f_backward(dy, c)[:2], dy.sum(0)), (args[0][:, :3], *args[1:]))
    assert report["db"].verdict.endswith("not summed over the first axis")


def test_a_broadcast_argument_whose_gradient_was_not_summed():
    f, f_backward = lambda x, b: (x + b, None), lambda dy, c: (dy, dy)
    verdict = check(f, f_backward, (random(1, 3, 5), random(2, 3, 1)))["db"].verdict
    assert verdict == "has shape (3, 5) where the argument has (3, 1): not summed over axis 1, which was broadcast"


def test_axes_in_the_wrong_order_are_named_whatever_the_shape():
    found = said(LINEAR, lambda g, dy, cache: {"x": g["x"].transpose(2, 0, 1)}, "x")
    assert found.endswith("its axes are in the wrong order: transpose it by (1, 2, 0)")
    assert "transposed" not in said(LINEAR, lambda g, dy, cache: {"x": random(5, 4, 5, 3)}, "x")
