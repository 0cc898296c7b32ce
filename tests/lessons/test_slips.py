"""Slips that are known by what they lead to."""

import numpy as np

from minivit.gradcheck.catalog import normal
from minivit.lessons.exercise import function_exercise, pair_exercise
from minivit.lessons.slips import explained, naming_gradient_slips, naming_slips

CASES = ((normal(1, 3), 0.7), (normal(2, 4), 0.2))
SHARED = naming_slips(
    function_exercise("shares", lambda x, s: (s * x, 1 - s), *CASES, names=("part", "rest")),
    CASES,
    [("the shares are swapped", lambda x, s: ((1 - s) * x, s)), ("the rest is missing", lambda x, s: (s * x, 0.0))],
    names=("part", "rest"),
)


def verdicts(exercise, *attempt):
    return {row.tensor: row.verdict for row in exercise.judge("an exercise", *attempt).rows}


def test_a_slip_is_named_for_each_result_that_shows_it():
    assert verdicts(SHARED, lambda x, s: ((1 - s) * x, s)) == {
        "part": "the shares are swapped",
        "rest": "the shares are swapped",
    }
    assert verdicts(SHARED, lambda x, s: (s * x, 0.0)) == {"part": "right", "rest": "the rest is missing"}


def test_it_has_to_explain_every_case():
    def only_once(x, s):
        return s * x, (s if len(x) == 3 else 0.3)

    assert "swapped" not in verdicts(SHARED, only_once)["rest"]


def test_a_right_answer_and_an_unknown_mistake_are_left_as_they_are():
    assert set(verdicts(SHARED, *SHARED.answer).values()) == {"right"}
    assert "off by the factor" in verdicts(SHARED, lambda x, s: (3 * s * x, 1 - s))["part"]


def test_a_pair_s_y_may_show_a_slip():
    cases = ((normal(3, 4, 5),),)
    exercise = naming_slips(
        pair_exercise("a sum", lambda x: (x.sum(1), x), lambda dy, x: dy[:, None] + 0 * x, *cases),
        cases,
        [("a mean, not a sum", lambda x: x.mean(1))],
        names=("y",),
    )
    found = verdicts(exercise, lambda x: (x.mean(1), x), lambda dy, x: dy[:, None] / 5 + 0 * x)
    assert found["y"] == "a mean, not a sum"
    assert set(verdicts(exercise, *exercise.answer).values()) == {"right"}


def test_a_pair_s_gradients_may_show_a_slip_whatever_their_cache_is():
    cases = ((normal(3, 4), normal(4, 4)), (normal(5, 2, 3), normal(6, 2, 3)))

    def product(x, w):
        return x * w, (x, w)

    def without_w(dy, cache):
        return dy, dy * cache[0]

    exercise = naming_gradient_slips(
        pair_exercise("a product", product, lambda dy, c: (dy * c[1], dy * c[0]), *cases),
        cases,
        [("w is missing", without_w), ("another slip", lambda dy, c: (dy * c[1], -dy * c[0]))],
    )

    def mine(first, second):
        return second * first, {"x": first, "w": second}

    found = verdicts(exercise, mine, lambda dy, c: (dy, dy * c["x"]))
    assert found == {"dfirst": "w is missing", "dsecond": "right", "y": "right"}
    found = verdicts(exercise, mine, lambda dy, c: (dy * c["w"], -dy * c["x"]))
    assert found == {"dfirst": "right", "dsecond": "another slip", "y": "right"}
    assert set(verdicts(exercise, *exercise.answer).values()) == {"right"}


def test_what_is_not_finite_may_be_a_slip():
    cases = ((np.array([1.0, 2.0]),), (np.array([1000.0, 1.0]),))
    exercise = naming_slips(
        function_exercise("a ratio", lambda x: np.exp(x - x.max()), *cases),
        cases,
        [("exp overflows", lambda x: np.exp(x) / np.exp(x.max()))],
    )
    with np.errstate(all="ignore"):
        assert verdicts(exercise, lambda x: np.exp(x) / np.exp(x).max()) == {"result": "exp overflows"}
        assert verdicts(exercise, lambda x: np.exp(x) * np.nan) == {"result": "2 of 2 numbers are not finite"}


def test_an_attempt_is_given_copies():
    """One that writes to its arguments spoils neither the cases nor what is said of them."""
    before = CASES[0][0].copy()

    def in_place(x, s):
        x *= s
        return x, 1 - s

    assert verdicts(SHARED, in_place)["arguments"].startswith("an argument was changed")
    assert np.array_equal(CASES[0][0], before)


def test_an_explanation_that_says_nothing_leaves_the_verdict():
    plain = function_exercise("twice", lambda x: 2 * x, (normal(4, 3),))
    assert verdicts(explained(plain, lambda tensor, f: ""), lambda x: x) == verdicts(plain, lambda x: x)
