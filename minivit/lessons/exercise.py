"""What an exercise is, and the two ways to judge one: a pair by its gradients, a function by its results.

Both give a `Report` of minivit.gradcheck, so that a wrong number is named in the same words whether it is a
gradient or not: transposed, off by a factor, not summed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from minivit.arrays import Array
from minivit.gradcheck import GradcheckError, Report, Row, check
from minivit.gradcheck.derivative import norm, relative_error
from minivit.gradcheck.pair import said
from minivit.gradcheck.report import sorted_rows
from minivit.gradcheck.trial import copied, same
from minivit.gradcheck.verdict import Clues, verdict

TOLERANCE = 1e-12  # of results in float64; relative, L2 over the whole array

Judge = Callable[..., Report]  # judge(title, *attempt)


class Exercise(NamedTuple):
    """One exercise of a notebook."""

    title: str
    answer: tuple[Callable[..., Any], ...]  # the library's, in the order in which an attempt is given
    judge: Judge


def pair_exercise(
    title: str,
    f: Callable[..., Any],
    f_backward: Callable[..., Any],
    *cases: Sequence[Any],
    like: Callable[..., Any] | None = None,
    **settings: Any,
) -> Exercise:
    """An exercise that asks for (f, f_backward): f has to compute the answer's y, f_backward f's gradients.

    cases: tuples of arguments, each judged. like: what y is compared with, where that is not f itself.
    settings go to `minivit.gradcheck.check`.
    """
    right = f if like is None else like

    def judge(title: str, attempt: Callable[..., Any], attempt_backward: Callable[..., Any]) -> Report:
        rows: list[Row] = []
        for case in cases:
            args = copied(tuple(case))  # an attempt may write to them
            expected = right(*copied(args))[0]
            report = check(attempt, attempt_backward, args, name=title, **settings)
            y = attempt(*copied(tuple(case)))[0]
            row = _compared("y", y, expected, settings.get("tolerance", TOLERANCE), _known(f, case))
            rows += [row, *report.rows]
        return Report(title, report.method, report.dtype, _worst_case(rows))

    return Exercise(title, (f, f_backward), judge)


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
            found = _results(attempt, args, names)
            expected = _results(f, args, names)
            known = {**(numbers or {}), **_known(f, args)}
            rows += [_compared(name, a, b, tolerance, known) for name, a, b in zip(names, found, expected, strict=True)]
            rows += _changed_arguments(attempt, args)
        return Report(title, "results", "float64", _worst_case(rows))

    return Exercise(title, (f,), judge)


def _results(f: Callable[..., Any], args: Sequence[Any], names: Sequence[str]) -> list[Any]:
    """What f(*args) returns, as a list. Raises GradcheckError where it fails or returns another number of things."""
    name = getattr(f, "__name__", "the function")
    try:
        found = f(*copied(tuple(args)))
    except NotImplementedError:
        raise
    except Exception as error:
        raise GradcheckError(f"{name} raised {said(error)}") from error
    results = [found] if len(names) == 1 else found
    if isinstance(results, np.ndarray) and results.ndim and len(results) == len(names):
        results = list(results)  # stacked
    if not isinstance(results, tuple | list) or len(results) != len(names):
        count = len(results) if isinstance(results, tuple | list) else 1
        said_count = f"{count} result{'s' * (count != 1)}"
        raise GradcheckError(f"{name} returned {said_count}; expected {len(names)}: {', '.join(names)}")
    return list(results)


def _compared(name: str, found: Any, expected: Any, tolerance: float, numbers: Mapping[str, float]) -> Row:
    """One row: a result against the right one."""
    right = np.asarray(expected, np.float64)
    if found is None:
        return Row(name, right.shape, np.inf, tolerance, f"{name} is missing: the function returned None")
    try:
        if np.iscomplexobj(found):
            return Row(name, right.shape, np.inf, tolerance, f"{name} is complex; expected real numbers")
        x = np.asarray(found, np.float64)
    except (TypeError, ValueError, OverflowError):
        return Row(name, right.shape, np.inf, tolerance, f"{name} is a {type(found).__name__}; expected numbers")
    comparable = x.shape == right.shape and np.isfinite(x).all()
    error = relative_error(x, right) if comparable else np.inf
    if error <= tolerance:
        return Row(name, right.shape, error, tolerance, "right")
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


def _changed_arguments(attempt: Callable[..., Any], args: Sequence[Any]) -> list[Row]:
    """A row if the attempt writes to its arguments."""
    given = copied(tuple(args))
    attempt(*given)
    if same(given, tuple(args)):
        return []
    return [Row("arguments", (), np.inf, TOLERANCE, "an argument was changed: work on a copy of it")]


def _known(f: Callable[..., Any], args: Sequence[Any]) -> dict[str, float]:
    """What a factor may be, by the names of f's arguments: each number, and the length of each array's axes."""
    found: dict[str, float] = {}
    names = list(inspect.signature(f).parameters)
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


def numbers(seed: int, *shape: int, scale: float = 1.0) -> Array:
    """Standard normal numbers of a shape times `scale`, in float64: arguments to judge by."""
    x = np.random.default_rng(seed).standard_normal(shape) * scale
    assert norm(x) > 0.0
    return np.asarray(x)
