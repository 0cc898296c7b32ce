"""A pair that writes to its arguments: it is told so, of its gradients the truth, and the caller's arrays stay."""

import numpy as np
import pytest
from helpers.cases import random
from helpers.spoiled import cube, cube_backward, named

from minivit.gradcheck import check

X = np.random.default_rng(0).standard_normal((3, 4))


def softmax_in_place(x):
    x -= x.max(-1, keepdims=True)
    p = np.exp(x) / np.exp(x).sum(-1, keepdims=True)
    return p, p


def softmax_backward(dy, p):
    return p * (dy - (dy * p).sum(-1, keepdims=True))


def test_a_forward_pass_that_changes_its_argument():
    def f(w, x):
        x *= 2.0
        return x * w, (w, x)

    tensor, verdict = named(f, lambda dy, c: (dy * c[1], dy * c[0]), random(1, 4), random(2, 4))
    assert (tensor, verdict) == ("x", "x was changed by the pair: work on a copy of it")


def test_a_backward_pass_that_changes_an_argument():
    """Even when what it returns is right."""

    def f_backward(dy, cache):
        dx = cube_backward(dy, cache)
        cache[0] = 7.0
        return dx

    assert named(cube, f_backward, random(1, 4))[1] == "x was changed by the pair: work on a copy of it"


@pytest.mark.parametrize("method", ["complex_step", "central", "directions", "taylor"])
def test_the_gradients_of_a_pair_that_changes_its_argument_are_told(method):
    rows = {row.tensor: row for row in check(softmax_in_place, softmax_backward, (X.copy(),), method=method).rows}
    assert rows.pop("x").verdict == "x was changed by the pair: work on a copy of it"
    assert all(row.passed for row in rows.values())


@pytest.mark.parametrize("method", ["complex_step", "central"])
def test_what_changes_nothing_at_these_numbers_is_seen_at_others(method):
    """Where the largest is 0 to begin with; in the numeric derivative it no longer is."""
    at_0 = X - X.max(-1, keepdims=True)
    rows = check(softmax_in_place, softmax_backward, (at_0,), method=method).rows
    assert [(row.tensor, row.passed) for row in rows] == [("x", False), ("dx", True)]


def test_a_wrong_one_is_named_as_ever():
    row = check(softmax_in_place, lambda dy, p: 2.0 * softmax_backward(dy, p), (X.copy(),)).rows[-1]
    assert row.verdict.startswith("off by the factor 2")


def test_the_caller_s_arrays_stay_as_they_were():
    x = X.copy()
    for _ in range(2):  # were x changed, the second check would find nothing left to change
        assert not check(softmax_in_place, softmax_backward, (x,)).passed
        np.testing.assert_array_equal(x, X)


def test_arguments_keep_their_layout_in_memory():
    seen = []

    def double(x):
        seen.append(x.flags.f_contiguous)
        return 2.0 * x, None

    check(double, lambda dy, _: 2.0 * dy, (np.asfortranarray(X),)).require()
    assert seen[0]


def test_labels_and_parameters_in_a_setting_are_kept_too():
    """Else each call of f would take 1 off anew, and the gradients compared be those of other labels."""

    def chosen(x, labels, p):
        labels -= 1
        p["w"] *= 2.0
        rows = np.arange(len(labels))
        return x[rows, labels] * p["w"], (x.shape, rows, labels.copy(), p["w"].copy())

    def chosen_backward(dy, cache):
        shape, rows, labels, w = cache
        dx = np.zeros(shape, dy.dtype)
        dx[rows, labels] = dy * w
        return dx

    labels, p = np.array([1, 4, 2]), {"w": np.ones(3)}
    rows = {row.tensor: row for row in check(chosen, chosen_backward, (X, labels, p)).rows}
    assert rows.pop("labels").verdict == "labels was changed by the pair: work on a copy of it"
    assert rows.pop("p").verdict == "p was changed by the pair: work on a copy of it"
    assert rows.pop("dx").passed
    assert not rows
    assert (labels.tolist(), p["w"].tolist()) == ([1, 4, 2], [1.0, 1.0, 1.0])


def test_what_comes_of_a_changed_argument_is_not_told_beside_it():
    """A cache that holds the argument is changed with it, and so is a y that is the argument."""

    def double(x):
        x *= 2.0
        return x, x

    rows = check(double, lambda dy, x: 2.0 * dy, (X.copy(),)).rows
    assert [row.tensor for row in rows] == ["x", "dx"]
    assert rows[1].passed


def test_what_else_is_wrong_is_told_beside_a_changed_argument():
    draw = np.random.default_rng(0)

    def noisy(x):
        x *= 2.0
        return x * draw.random(x.shape), None

    rows = check(noisy, lambda dy, _: dy, (X.copy(),)).rows
    assert [row.tensor for row in rows] == ["x", "y"]
    assert "a second forward pass gave another y" in rows[1].verdict
