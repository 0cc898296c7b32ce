"""The grader: what it says of attempts of every kind, and what it hands on."""

import runpy

import numpy as np
import pytest

from minivit import MinivitError
from minivit.gradcheck import GradcheckError
from minivit.gradcheck.catalog import normal
from minivit.lessons import grade
from minivit.lessons.answers import find_exercise
from minivit.lessons.answers.n04_layer_norm import fold, rms_norm, rms_norm_backward
from minivit.lessons.exercise import function_exercise, pair_exercise


def said(exercise, *attempt):
    """The report on an attempt, as text."""
    return str(exercise.judge("an exercise", *attempt))


def test_a_right_answer_is_handed_back(capsys):
    def rms_norm_of_mine(x, g, eps=1e-6):
        return rms_norm(x, g, eps)

    assert grade("4.1", rms_norm_of_mine, rms_norm_backward) == (rms_norm_of_mine, rms_norm_backward)
    assert ": right" in capsys.readouterr().out
    assert grade(4.1, rms_norm_of_mine, rms_norm_backward) == (rms_norm_of_mine, rms_norm_backward)

    def mine(g, b, w, c):
        return (w.T * g).T, c + b @ w

    assert grade("4.3", mine) is mine


def test_a_stub_is_not_written_yet_and_the_answer_stands_in(capsys):
    def rms_norm_backward_stub(dy, cache):
        raise NotImplementedError("exercise 4.1")

    def fold_stub(g, b, w, c):
        raise NotImplementedError("exercise 4.3")

    assert grade("4.1", rms_norm, rms_norm_backward_stub) == (rms_norm, rms_norm_backward)
    assert grade("4.3", fold_stub) is fold
    assert capsys.readouterr().out.count("not written yet\nThe notebook goes on with the library's answer.") == 2


def test_an_attempt_that_fails_is_told_where(capsys):
    assert grade("4.3", lambda g, b, w, c: (g * w, c)) is fold
    printed = capsys.readouterr().out
    assert "WRONG" in printed
    assert "raised ValueError: operands could not be broadcast" in printed
    assert grade("4.1", rms_norm, lambda dy, cache: dy)[1] is rms_norm_backward
    assert "returned 1 gradient for 2 float arrays (x, g)" in capsys.readouterr().out


def test_whatever_an_attempt_raises_the_notebook_goes_on(capsys):
    calls = []

    def late(images, patch_size, order):
        calls.append(1)
        return images if len(calls) < 2 else 1 / 0

    for number, attempt in (
        ("7.2", late),
        ("9.1", lambda *sizes: (2, 10**400)),
        ("1.1", lambda f, args, dy, i: [[1.0], [1.0, 2.0]]),
        ("4.3", len),
        ("4.3", lambda *_: exit()),
    ):
        grade(number, attempt)
        printed = capsys.readouterr().out
        assert "WRONG" in printed
        assert printed.endswith("The notebook goes on with the library's answer.\n")


def test_what_is_no_function_is_named_as_the_exercise_names_it(capsys):
    assert grade("4.1", rms_norm, 2)[1] is rms_norm_backward
    assert "rms_norm_backward is an int; expected a function" in capsys.readouterr().out
    assert grade("4.3", "fold") is fold
    assert "fold is a str; expected a function" in capsys.readouterr().out


def test_an_assertion_without_words_is_quoted(capsys, tmp_path):
    path = tmp_path / "mine.py"  # pytest puts words into the assertions of its own files
    path.write_text("def asserting(g, b, w, c):\n    assert g.ndim == 7\n", encoding="utf-8")
    asserting = runpy.run_path(str(path))["asserting"]

    def silent(g, b, w, c):
        raise KeyError

    grade("4.3", asserting)
    assert "asserting raised AssertionError: assert g.ndim == 7 (mine.py, line 2)" in capsys.readouterr().out
    grade("4.3", silent)
    assert "silent raised KeyError (test_grade.py, line" in capsys.readouterr().out


def test_nothing_is_minus_nothing():
    zeros = function_exercise("zeros", lambda x: x * np.array([-1.0, 1.0]), (np.array([0.0, 3.0]),))
    assert "at [0] it is 5 where 0 is right" in said(zeros, lambda x: x + np.array([5.0, 1.0]))


def test_numbers_as_text_are_no_numbers():
    assert "a is a str; expected numbers" in said(TWO, lambda x, n: ("1.5", x.sum()))


def test_what_an_attempt_remembers_shows():
    kept = []

    def first_result(x, n):
        kept.append((x.T * n, x.sum()))
        return kept[0] if len(kept) < 2 else (x.T, x.sum())

    assert "the same arguments gave another result" in said(TWO, first_result)


def test_float32_is_named():
    words = said(TWO, lambda x, n: ((x.T * n).astype(np.float32), x.sum()))
    assert "rounded to float32: keep the type of the arguments" in words


def test_results_may_be_stacked():
    swapped = function_exercise("swapped", lambda x: (2 * x, x), (normal(5, 3),), names=("a", "b"))
    assert ": right" in said(swapped, lambda x: np.stack([2 * x, x]))


@pytest.mark.parametrize("number", ["4.9", "11.1", "4", "", "x.1"])
def test_an_unknown_exercise_is_refused(number):
    with pytest.raises(MinivitError, match="is not known; expected notebook and number"):
        grade(number, fold)


def test_what_takes_no_complex_numbers_is_judged_by_real_steps():
    def log_softmax(x):
        y = x - np.logaddexp.reduce(x, axis=-1, keepdims=True)
        return y, y

    def log_softmax_backward(dy, y):
        return dy - np.exp(y) * dy.sum(-1, keepdims=True)

    exercise = find_exercise("3.3")
    assert exercise.judge("3.3", log_softmax, log_softmax_backward).passed
    wrong = exercise.judge("3.3", log_softmax, lambda dy, y: dy - np.exp(y) * dy.mean(-1, keepdims=True))
    assert not wrong.passed


def test_a_missing_function_is_named():
    with pytest.raises(MinivitError, match=r"1 function given; expected 2, in order: rms_norm, rms_norm_back"):
        grade("4.1", rms_norm)


def test_every_number_is_found():
    assert find_exercise("4.1").answer == (rms_norm, rms_norm_backward)


TWO = function_exercise("two", lambda x, n: (x.T * n, x.sum()), (normal(0, 3, 4), 5), names=("a", "b"))


@pytest.mark.parametrize(
    ("attempt", "words"),
    [
        (lambda x, n: (x * n, x.sum()), "transposed"),
        (lambda x, n: (x.T, x.sum()), "off by the factor 0.2 = 1 / n"),
        (lambda x, n: (-x.T * n, x.sum()), "the sign is wrong"),
        (lambda x, n: (x.T * n, None), "b is missing: the function returned None"),
        (lambda x, n: (x.T * n, "much"), "b is a str; expected numbers"),
        (lambda x, n: (x.T * (n + 0j), x.sum()), "a is complex; expected real numbers"),
        (lambda x, n: (x.T * n, [x.sum(), x]), "b is a list; expected numbers"),
        (lambda x, n: (x.T * np.nan, x.sum()), "12 of 12 numbers are not finite"),
        (lambda x, n: (x.T * n, x.sum(0)), "has shape (4,) where the right result has ()"),
        (lambda x, n: (np.multiply(x, n, out=x).T, x.sum() / n), "an argument was changed"),
    ],
)
def test_results_are_judged_in_words(attempt, words):
    assert words in said(TWO, attempt)


@pytest.mark.parametrize("results", [lambda x, n: x.T * n, lambda x, n: (x.T * n, x.sum(), n), lambda x, n: [x.sum()]])
def test_another_number_of_results_is_refused(results):
    with pytest.raises(GradcheckError, match=r"returned \d results?; expected 2: a, b"):
        said(TWO, results)


def test_a_pair_has_to_compute_what_was_asked_for():
    """Its gradients may be right for another function."""
    square = pair_exercise("square", lambda x: (x * x, x), lambda dy, x: 2 * dy * x, (normal(1, 3),))
    assert ": right" in said(square, *square.answer)
    cube = said(square, lambda x: (x * x * x, x), lambda dy, x: 3 * dy * x * x)
    assert "y" in [line.split()[1] for line in cube.splitlines() if line.startswith("!")]


def test_the_worst_of_several_cases_is_shown():
    late = function_exercise("late", lambda x: x + 1, (normal(2, 3),), (-normal(2, 3),))
    assert ": WRONG" in said(late, lambda x: x + (1 if x[0] == normal(2, 3)[0] else 2))
