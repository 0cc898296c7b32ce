"""Each mistake gets the sentence that names it, and a right gradient gets none."""

import numpy as np
import pytest
from bugs.functions import FUNCTION_BUGS
from helpers.cases import random
from helpers.spoiled import LINEAR, NORM, SOFTMAX, SQUARE, said

from minivit.functions import (
    attention,
    attention_backward,
)
from minivit.gradcheck import check


def test_a_right_gradient_is_right():
    for f, f_backward, args in (LINEAR, SQUARE, NORM, SOFTMAX):
        assert [row.verdict for row in check(f, f_backward, args).rows] == ["right"] * len(args)


PATTERNS = {
    "transposed": (SQUARE, lambda g, dy, c: {"w": g["w"].T}, "w", "transposed"),
    "transposed rows": (
        (lambda x: (x**3, x), lambda dy, x: 3 * x * x * dy, (random(1, 2, 4, 4),)),
        lambda g, dy, c: {"x": g["x"].swapaxes(-1, -2)},
        "x",
        "transposed in its last two axes",
    ),
    "axes": (
        (lambda x: (x**3, x), lambda dy, x: 3 * x * x * dy, (random(1, 4, 3, 4),)),
        lambda g, dy, c: {"x": g["x"].transpose(2, 1, 0)},
        "x",
        "its axes are in the wrong order: transpose it by (2, 1, 0)",
    ),
    "reversed": (LINEAR, lambda g, dy, c: {"x": g["x"][:, ::-1]}, "x", "reversed along axis 1 (T)"),
    "shifted": (LINEAR, lambda g, dy, c: {"x": np.roll(g["x"], 2, 1)}, "x", "shifted by 2 along axis 1 (T)"),
    "shuffled": (
        LINEAR,
        lambda g, dy, c: {"x": g["x"].transpose(1, 0, 2).reshape(3, 5, 4)},
        "x",
        "the right numbers in another order: a reshape, a transpose or an index is missing or misplaced",
    ),
    "swapped": (
        (
            lambda x, w: (x**2 * w, (x, w)),
            lambda dy, c: (2 * c[0] * c[1] * dy, c[0] ** 2 * dy),
            (random(1, 4), random(2, 4)),
        ),
        lambda g, dy, c: {"x": g["w"]},
        "x",
        "this is the gradient of w: swapped",
    ),
    "first image": (
        LINEAR,
        lambda g, dy, c: {"w": c.x[0].T @ dy[0]},
        "w",
        "only the first of 3 images counts: not summed over the batch",
    ),
    "last image": (
        LINEAR,
        lambda g, dy, c: {"b": dy[-1].sum(0)},
        "b",
        "only the last of 3 images counts: not summed over the batch",
    ),
    "mean term": (
        NORM,
        lambda g, dy, c: {"x": g["x"] + (dy * c.g).mean(-1, keepdims=True) * c.rstd},
        "x",
        "correct but for the mean term: the difference is constant along axis 2 (D)",
    ),
    "sum over the row": (
        SOFTMAX,
        lambda g, dy, c: {"x": dy * c.y},
        "x",
        "correct but for a multiple of y in each row: a sum over the row is missing or wrong",
    ),
    "stretch term": (
        NORM,
        lambda g, dy, c: {"x": g["x"] + (c.x - c.mean) * (dy * dy).sum(-1, keepdims=True)},
        "x",
        "correct but for a multiple of x - mean(x) in each row: a sum over the row is missing or wrong",
    ),
    "rows that sum to 0": (
        SOFTMAX,
        lambda g, dy, c: {"x": dy * c.y * (1 - c.y)},
        "x",
        "wrong: each row of the right gradient sums to 0, not so here; a term is missing or wrong",
    ),
    "residual": (
        (lambda x: (x + x**3, x), lambda dy, x: dy + 3 * x * x * dy, (random(1, 3, 4),)),
        lambda g, dy, c: {"x": g["x"] - dy},
        "x",
        "dy itself is missing: the gradient that goes past the branch, in a residual sum",
    ),
    "residual twice": (
        (lambda x: (x + x**3, x), lambda dy, x: dy + 3 * x * x * dy, (random(1, 3, 4),)),
        lambda g, dy, c: {"x": g["x"] + dy},
        "x",
        "dy itself is added once too often",
    ),
    "dy ignored": (
        LINEAR,
        lambda g, dy, c: {"b": np.full(6, 15.0)},
        "b",
        "dy is ignored: this is the gradient for dy = 1",
    ),
    "part of it": (
        LINEAR,
        lambda g, dy, c: {"x": g["x"] * (np.arange(5) > 0)[:, None]},
        "x",
        "right but for index 0 of axis 1 (T), where it is 0",
    ),
    "the lesser part of it": (
        LINEAR,
        lambda g, dy, c: {"x": g["x"] * (np.arange(5) > 2)[:, None]},
        "x",
        "right only for index 3, 4 of axis 1 (T), elsewhere it is 0",
    ),
    "some numbers": (
        LINEAR,
        lambda g, dy, c: {"w": g["w"] + np.eye(4, 6)[:, :1]},
        "w",
        "right but for index 0 of axis 0 (D)",
    ),
    "scattered numbers": (
        LINEAR,
        lambda g, dy, c: {"w": g["w"] + (np.arange(24).reshape(4, 6) % 5 == 2)},
        "w",
        "right in 19 of 24 numbers; first wrong at [0, 2]",
    ),
    "nearly": (
        NORM,
        lambda g, dy, c: {"w": g["w"] * (1 + 1e-5 * random(1, 7))},
        "w",
        "nearly right: a constant or an eps differs a little between forward and backward",
    ),
    "nan": (LINEAR, lambda g, dy, c: {"b": g["b"] + np.nan}, "b", "6 of 6 numbers are not finite"),
}


@pytest.mark.parametrize("name", PATTERNS)
def test_patterns(name):
    pair, change, tensor, verdict = PATTERNS[name]
    if name in ("mean term", "stretch term", "nearly"):  # layer norm's gradients are of x, g, b
        pair = (*pair[:2], pair[2])
        f, f_backward, args = pair
        named = dict(zip("xwb", ("x", "g", "b"), strict=True))

        def broken(dy, cache):
            gradients = dict(zip("xwb", f_backward(dy, cache), strict=True))
            gradients.update(change(gradients, dy, cache))
            return tuple(gradients.values())

        assert check(f, broken, args)[f"d{named[tensor]}"].verdict == verdict
    else:
        assert said(pair, change, tensor) == verdict


def test_of_several_results_in_one_array_one_is_left_out():
    """An LSTM's state and cell, stacked: these are no images."""

    def f(x):
        return np.stack([np.sin(x), np.cos(x)]), x

    verdict = check(f, lambda dy, x: dy[0] * np.cos(x), (random(1, 4, 3),)).worst.verdict
    assert verdict == "only dy[0] counts, of 2: not summed over axis 0 of dy"


def test_what_should_be_zero_and_is_not():
    f = lambda x, unused: (x * 2.0, None)  # noqa: E731
    verdict = check(f, lambda dy, c: (dy * 2.0, dy), (random(1, 3), random(2, 3)))["dunused"].verdict
    assert verdict == "should be zero: y does not depend on it here"


def test_just_above_the_tolerance_it_is_nearly_right():
    """Not a pattern that everything fits within ten tolerances."""
    verdict = check(lambda x: (x, None), lambda dy, c: dy * (1 + 3e-12 * random(9, 4)), (random(1, 4),)).worst.verdict
    assert verdict.startswith("nearly right")


def test_what_follows_no_pattern_is_told_with_its_worst_number():
    case, broken = FUNCTION_BUGS["linear: dx by w, not its transpose"]
    assert check(case.f, broken, case.args)["dx"].verdict == "wrong: at [1, 4, 0] it is -2.634 where 7.421 is right"


@pytest.mark.parametrize("shape", [(6,), (6, 1), (6, 2), (40, 50)])
@pytest.mark.parametrize("over", [(), None])
def test_of_few_numbers_a_row_of_many_numbers_and_one_result_no_pattern_is_made_up(shape, over):
    """Any one number is a multiple of another; a loss has no batch."""

    def f(x):
        return (x**3).sum(over), x

    args = (random(1, *shape),)
    assert check(f, lambda dy, x: dy * (x + 2.0) ** 4, args).worst.verdict.startswith("wrong: at [")


def test_a_right_gradient_beside_a_wrong_one_is_right():
    report = check(
        attention,
        lambda dy, c: (*attention_backward(dy, c)[:2], dy),
        (random(1, 5, 5), random(2, 5, 5), random(3, 5, 5)),
    )
    assert report["dq"].verdict == report["dk"].verdict == "right"
    assert report["dv"].verdict.startswith("wrong")
