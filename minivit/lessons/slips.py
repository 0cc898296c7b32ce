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
from minivit.gradcheck.trial import copied
from minivit.lessons.exercise import Exercise

Slip = tuple[str, Callable[..., Any]]  # what is wrong, and a function that returns what such an attempt does


def naming_slips(
    exercise: Exercise, cases: Sequence[Sequence[Any]], slips: Sequence[Slip], names: Sequence[str] = ("result",)
) -> Exercise:
    """The exercise, with the words of the first slip whose results are those of the attempt in all cases.

    cases: tuples of arguments. names: of the results, as the exercise has them; ("y",) for a pair, whose slips
    return y alone.
    """
    several, is_pair = len(names) > 1, len(exercise.answer) > 1

    def results(f: Callable[..., Any], i: int, first: bool = False) -> list[Any]:
        found = [f(*copied(tuple(args))) for args in cases]
        return [x[i] for x in found] if several or first else found

    def explain(tensor: str, attempt: Callable[..., Any], *_: Any) -> str:
        if tensor not in names:
            return ""
        i = names.index(tensor)
        found = results(attempt, i, first=is_pair)
        return next((words for words, wrong in slips if all(map(_alike, found, results(wrong, i)))), "")

    return explained(exercise, explain)


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


def _alike(a: Any, b: Any) -> bool:
    try:
        a, b = np.asarray(a), np.asarray(b)
    except (TypeError, ValueError):  # a tuple of arrays of several shapes, say
        return False
    return a.shape == b.shape and a.dtype.kind in "fiu" and bool(np.allclose(a, b, rtol=1e-12, atol=1e-12))
