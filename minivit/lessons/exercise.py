"""What an exercise is, and the two ways to judge one: a pair by its gradients, a function by its results.

Both give a `Report` of minivit.gradcheck, so that a wrong number is named in the same words whether it is a
gradient or not: transposed, off by a factor, not summed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from minivit.arrays import Array
from minivit.errors import counted
from minivit.gradcheck import GradcheckError, Report, Row, check
from minivit.gradcheck.derivative import relative_error
from minivit.gradcheck.pair import describe, reworded
from minivit.gradcheck.report import sorted_rows
from minivit.gradcheck.signature import signature_of
from minivit.gradcheck.trial import copied, same
from minivit.gradcheck.verdict import Clues, verdict

TOLERANCE = 1e-12  # of results in float64; relative, L2 over the whole array

Judge = Callable[..., Report]  # judge(title, *attempt)


class Exercise(NamedTuple):
    """One exercise of a notebook."""

    title: str
    answer: tuple[Callable[..., Any], ...]  # the library's, in the order in which an attempt is given
    judge: Judge


def pair_exercise(title: str, f: Callable[..., Any], f_backward: Callable[..., Any], *cases: Sequence[Any]) -> Exercise:
    """An exercise that asks for (f, f_backward): f has to compute the answer's y, f_backward f's gradients.

    cases: tuples of arguments, each judged.
    """

    def judge(title: str, attempt: Callable[..., Any], attempt_backward: Callable[..., Any]) -> Report:
        rows: list[Row] = []
        for case in cases:
            report = _checked(attempt, attempt_backward, case, title)
            y, expected = attempt(*copied(tuple(case)))[0], f(*case)[0]
            rows += [_compared("y", y, expected, TOLERANCE, _known(f, case)), *report.rows]
        return Report(title, report.method, report.dtype, _worst_case(rows))

    return Exercise(title, (f, f_backward), judge)


def _checked(f: Callable[..., Any], f_backward: Callable[..., Any], case: Sequence[Any], title: str) -> Report:
    """The gradients' report; by real steps where NumPy has f for real numbers alone, as with np.logaddexp."""
    try:
        return check(f, f_backward, tuple(case), name=title)
    except GradcheckError as error:
        if "TypeError: ufunc" not in str(error):
            # A grader has no method to choose.
            raise GradcheckError(re.sub("(, or|;) use method='central'$", "", str(error))) from error
        # Where numbers are large, real steps leave five digits.
        return check(f, f_backward, tuple(case), method="central", tolerance=1e-4, name=title)


def function_exercise(
    title: str,
    f: Callable[..., Any],
    *cases: Sequence[Any],
    tolerance: float = TOLERANCE,
    names: Sequence[str] = ("result",),
    numbers: Mapping[str, float] | None = None,
) -> Exercise:
    """An exercise that asks for a function with the answer's results.

    cases: tuples of arguments, each judged. names: of the results, several where f returns a tuple. numbers:
    what a wrong factor may be, by name, beside the lengths of the arguments' axes.
    """

    def judge(title: str, attempt: Callable[..., Any]) -> Report:
        rows: list[Row] = []
        for args in cases:
            given = copied(tuple(args))
            found, expected = _results(attempt, given, names), _results(f, args, names)
            known = {**(numbers or {}), **_known(f, args)}
            rows += [_compared(name, a, b, tolerance, known) for name, a, b in zip(names, found, expected, strict=True)]
            if not same(given, tuple(args)):
                rows.append(_broken("arguments", "an argument was changed: work on a copy of it"))
        # Again, and in the opposite order: what an attempt remembers shows.
        for args in reversed(cases):
            pairs = zip(names, _results(attempt, copied(tuple(args)), names), _results(f, args, names), strict=True)
            if all(row.passed for row in rows) and not all(
                _compared(name, a, b, tolerance, {}).passed for name, a, b in pairs
            ):
                rows.append(_broken("second call", "the same arguments gave another result: nothing may be remembered"))
        return Report(title, "results", "float64", _worst_case(rows))

    return Exercise(title, (f,), judge)


def _results(f: Callable[..., Any], args: Sequence[Any], names: Sequence[str]) -> list[Any]:
    """What f(*args) returns, as a list. Raises GradcheckError where it fails or returns another number of things."""
    name = getattr(f, "__name__", "the function")
    with reworded(lambda error: f"{name} raised {describe(error)}"):
        found = f(*args)
    results = [found] if len(names) == 1 else found
    if isinstance(results, np.ndarray) and results.ndim and len(results) == len(names):
        results = list(results)  # stacked
    if not isinstance(results, tuple | list) or len(results) != len(names):
        count = len(results) if isinstance(results, tuple | list) else 1
        said_count = counted(count, "result")
        raise GradcheckError(f"{name} returned {said_count}; expected {len(names)}: {', '.join(names)}")
    return list(results)


def _compared(name: str, found: Any, expected: Any, tolerance: float, numbers: Mapping[str, float]) -> Row:
    """One row: a result against the right one."""
    right = np.asarray(expected, np.float64)
    if found is None:
        return Row(name, right.shape, np.inf, tolerance, f"{name} is missing: the function returned None")
    try:
        given = np.asarray(found)
    except ValueError:  # arrays of several shapes
        given = np.asarray(None)
    if given.dtype.kind == "c":
        return Row(name, right.shape, np.inf, tolerance, f"{name} is complex; expected real numbers")
    if given.dtype.kind not in "fiu":
        return Row(name, right.shape, np.inf, tolerance, f"{name} is a {type(found).__name__}; expected numbers")
    x = given.astype(np.float64)
    comparable = x.shape == right.shape and np.isfinite(x).all()
    error = relative_error(x, right) if comparable else np.inf
    if error <= tolerance:
        return Row(name, right.shape, error, tolerance, "right")
    if given.dtype in (np.float16, np.float32) and error <= 1e-2:
        return Row(name, right.shape, error, tolerance, f"rounded to {given.dtype}: keep the type of the arguments")
    return Row(name, right.shape, error, tolerance, _words(x, right, tolerance, numbers))


def _words(found: Array, expected: Array, tolerance: float, numbers: Mapping[str, float]) -> str:
    nothing = np.zeros(1)
    clues = Clues(nothing, nothing, nothing, ("",) * expected.ndim, numbers, {}, None, max(10 * tolerance, 1e-9))
    return (
        verdict(found, expected, clues)
        .replace("the argument has", "the right result has")
        .replace("right gradient", "right result")
        .replace(" between forward and backward", "")
    )


def _broken(tensor: str, words: str) -> Row:
    """A row for a promise that the attempt broke."""
    return Row(tensor, (), np.inf, TOLERANCE, words)


def _known(f: Callable[..., Any], args: Sequence[Any]) -> dict[str, float]:
    """What a factor may be, by the names of f's arguments: each number, and the length of each array's axes."""
    found: dict[str, float] = {}
    signature = signature_of(f)
    names = list(signature.parameters) if signature else []
    for name, a in zip(names, args, strict=False):
        single = isinstance(a, np.ndarray | np.generic) and a.ndim == 0 and a.dtype.kind == "f"
        if single or (isinstance(a, int | float) and not isinstance(a, bool)):
            found[name] = float(a)
    for name, a in zip(names, args, strict=False):
        if isinstance(a, np.ndarray):
            for axis, n in enumerate(a.shape):
                if n not in found.values():
                    found[f"axis {axis} of {name}"] = n
    return found


def _worst_case(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The worst row of each tensor, over all cases."""
    worst: dict[str, Row] = {}
    for row in rows:
        if row.tensor not in worst or row.excess > worst[row.tensor].excess:
            worst[row.tensor] = row
    return sorted_rows(list(worst.values()))
