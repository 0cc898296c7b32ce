"""Words for the mistakes that an exercise invites, recognised by the results that they lead to.

A swapped share or a forgotten bias leaves no pattern that `minivit.gradcheck.verdict` could know of. But its result
is known: that of a function with the same slip.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minivit.gradcheck import Report
from minivit.gradcheck.catalog import normal
from minivit.gradcheck.pair import make_pair
from minivit.gradcheck.trial import copied
from minivit.lessons.exercise import Exercise

Slip = tuple[str, Callable[..., Any]]  # what is wrong, and a function that returns what such an attempt does


def naming_slips(
    exercise: Exercise,
    cases: Sequence[Sequence[Any]],
    slips: Sequence[Slip],
    names: Sequence[str] = ("result",),
    tolerance: float = 1e-12,
) -> Exercise:
    """The exercise, with the words of the first slip whose results are those of the attempt in all cases.

    cases: tuples of arguments. names: of the results, as the exercise has them; ("y",) for a pair, whose slips
    return y alone, and None is like no result. tolerance: results that differ by less are the same.
    """
    several, is_pair = len(names) > 1, len(exercise.answer) > 1

    def results(f: Callable[..., Any], i: int, first: bool = False) -> list[Any]:
        found = [f(*copied(tuple(args))) for args in cases]
        return [x[i] for x in found] if several or first else found

    def explain(tensor: str, attempt: Callable[..., Any], *_: Any) -> str:
        if tensor not in names:
            return ""
        i = names.index(tensor)
        return _words_for(results(attempt, i, first=is_pair), slips, lambda wrong: results(wrong, i), tolerance)

    return explained(exercise, explain)


def naming_gradient_slips(exercise: Exercise, cases: Sequence[Sequence[Any]], slips: Sequence[Slip]) -> Exercise:
    """As `naming_slips`, for the gradients of a pair; a slip is a backward pass for the answer's forward pass."""
    forward = exercise.answer[0]

    def gradients(i: int, f: Callable[..., Any], f_backward: Callable[..., Any]) -> list[Any]:
        found = []
        for seed, args in enumerate(cases):
            y, cache = f(*copied(tuple(args)))
            given = f_backward(normal(seed, *np.shape(y)), cache)
            found.append(given[i] if isinstance(given, tuple | list) else given)
        return found

    def explain(tensor: str, *attempt: Callable[..., Any]) -> str:
        f, f_backward = attempt
        names = [f"d{argument.name}" for argument in make_pair(f, f_backward, cases[0]).floats]  # the reader's
        if tensor not in names:
            return ""
        i = names.index(tensor)
        return _words_for(gradients(i, f, f_backward), slips, lambda wrong: gradients(i, forward, wrong), 1e-12)

    return explained(exercise, explain)


def _words_for(
    found: list[Any], slips: Sequence[Slip], results: Callable[[Callable[..., Any]], list[Any]], tolerance: float
) -> str:
    """The words of the first slip whose results are those that were found, or ""."""
    for words, wrong in slips:
        if all(_alike(a, b, tolerance) for a, b in zip(found, results(wrong), strict=True)):
            return words
    return ""


def explained(exercise: Exercise, explain: Callable[..., str]) -> Exercise:
    """The exercise with verdicts of its own: explain(tensor, *attempt) for what is wrong, where that says anything."""

    def judge(title: str, *attempt: Callable[..., Any]) -> Report:
        report = exercise.judge(title, *attempt)
        rows = (
            row if row.passed else dataclasses.replace(row, verdict=explain(row.tensor, *attempt) or row.verdict)
            for row in report.rows
        )
        return dataclasses.replace(report, rows=tuple(rows))

    return exercise._replace(judge=judge)


def _alike(a: Any, b: Any, tolerance: float) -> bool:
    """Whether two results are the same; what is not finite is so in both, be it inf or nan."""
    try:
        a, b = np.asarray(a), np.asarray(b)
    except (TypeError, ValueError):  # a tuple of arrays of several shapes, say
        return False
    if a.shape != b.shape or a.dtype.kind not in "fiu" or b.dtype.kind not in "fiu":
        return False
    finite = np.isfinite(a)
    return np.array_equal(finite, np.isfinite(b)) and bool(
        np.allclose(a[finite], b[finite], rtol=tolerance, atol=tolerance)
    )
