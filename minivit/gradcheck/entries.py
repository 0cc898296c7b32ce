"""Checks number by number: every gradient against a numeric one of all its numbers, and what is wrong in words."""

from __future__ import annotations

import functools
import time
from typing import Any

import numpy as np

from minivit.arrays import Array, to_host
from minivit.gradcheck.analytic import require_analytic
from minivit.gradcheck.derivative import CENTRAL_STEP, central_gradient, complex_step_gradient, norm, typical
from minivit.gradcheck.pair import Argument, Pair, require_complex
from minivit.gradcheck.report import Row
from minivit.gradcheck.roundings import LOST, SMALL, Roundings
from minivit.gradcheck.trial import MISSING, Trial
from minivit.gradcheck.verdict import Clues, verdict


def entry_by_entry(pair: Pair, trial: Trial, limit: float, roundings: Roundings) -> list[Row]:
    """One row an argument, against a numeric gradient of all its numbers."""
    if roundings.method == "complex_step":
        for argument in pair.floats:
            require_analytic(pair, trial, (argument,), roundings.seed)
    numeric = _numeric(pair, roundings.method)
    started = time.perf_counter()
    expected, seconds = [], []
    for argument in pair.floats:
        expected.append(numeric(argument.place, trial.dy))
        seconds.append(time.perf_counter() - started)
        started = time.perf_counter()
    errors = [_error(g, e, limit, a, roundings) for g, e, a in zip(trial.gradients, expected, pair.floats, strict=True)]
    said = _verdicts(pair, trial, expected, errors, limit, roundings)
    return [
        Row(f"d{a.name}", np.shape(e if g is None else g), error, limit, said.get(a.place, "right"), took)
        for a, g, e, error, took in zip(pair.floats, trial.gradients, expected, errors, seconds, strict=True)
    ]


def _error(found: Array | None, expected: Array, limit: float, argument: Argument, roundings: Roundings) -> float:
    """Relative error of one gradient; infinite where there is nothing to compare.

    Relative to the right gradient, or where that has fewer digits, such that roundings alone are at the limit.
    """
    if found is None or found.shape != expected.shape or not (np.isfinite(found).all() and np.isfinite(expected).all()):
        return np.inf
    error, size = norm(found - expected), norm(expected)
    if error <= limit * size:
        return error / size if size else 0.0
    return error / max(size or norm(found), roundings.explain(argument, found, roundings.probes(expected)) / limit)


def _verdicts(
    pair: Pair, trial: Trial, expected: list[Array], errors: list[float], limit: float, roundings: Roundings
) -> dict[int, str]:
    """What is wrong with each gradient that is, by the place of its argument."""
    wrong = [i for i, error in enumerate(errors) if not error <= limit]
    # Some patterns need numeric gradients for another dy. Where many gradients are wrong, the mistake lies
    # further up, and no such pattern is its cause.
    few = len(wrong) <= 6
    said = {}
    for i in sorted(wrong, key=lambda i: expected[i].size):
        argument, found = pair.floats[i], trial.gradients[i]
        if found is None:
            said[argument.place] = MISSING
        elif not np.isfinite(expected[i]).all():
            said[argument.place] = _OUTSIDE[roundings.method]
        else:
            said[argument.place] = _verdict(pair, trial, i, expected, limit, few, roundings)
    return said


def _verdict(
    pair: Pair, trial: Trial, i: int, expected: list[Array], limit: float, few: bool, roundings: Roundings
) -> str:
    """What is wrong with the gradient i; `few`: with few others."""
    argument, found, right = pair.floats[i], trial.gradients[i], expected[i]
    assert found is not None
    clues = Clues(
        x=np.asarray(to_host(pair.args[argument.place]), np.float64),
        y=trial.y,
        dy=trial.dy,
        axes=argument.axes,
        numbers=pair.numbers(),
        others={p.name: e for p, e in zip(pair.floats, expected, strict=True) if p is not argument},
        masked=functools.partial(_numeric(pair, roundings.method), argument.place) if few else None,
        precise=max(10 * limit, 1e-9),
    )
    said = _remembers(trial, i, right, limit) or verdict(found, right, clues)
    if found.shape == right.shape and roundings.method == "central" and np.isfinite(found).all():
        wrong = np.abs(found - right) > limit * max(norm(right), norm(found))
        if wrong.any() and all(_at_kink(pair, trial.dy, argument, tuple(i), found) for i in np.argwhere(wrong)):
            return _KINK
    if found.shape == right.shape and roundings.lost(argument, found, right):
        return LOST
    if found.shape == right.shape and roundings.doubtful(argument, norm(found - right), said):
        return SMALL
    return said


_KINK = (
    "not checked: f has a kink where it differs (equal numbers in a maximum, 0 in a relu), and so no derivative; give "
    "other arguments"
)


def _at_kink(pair: Pair, dy: Array, argument: Argument, index: tuple[int, ...], found: Array) -> bool:
    """Whether the slopes on both sides of one number are each the same for half the step, and differ.

    And `found` there is between them: beyond both it is wrong, whichever side is taken.
    """
    args = list(pair.cast(np.float64).args)
    y, place = np.array(to_host(pair.forward(args)[0])), argument.place
    h = CENTRAL_STEP * typical(to_host(args[place]))

    def slope(step: float) -> Array:
        x = args[place].copy()
        x[index] += step
        return (np.array(to_host(pair.forward([*args[:place], x, *args[place + 1 :]])[0])) - y) / step

    right, left, near_right, near_left = (slope(h * share) for share in (1.0, -1.0, 0.5, -0.5))
    jump, bend = norm(right - left), norm(right - near_right) + norm(left - near_left)
    if not (jump > 1e-2 * max(norm(right), norm(left)) and bend < 1e-2 * jump):
        return False
    low, high = np.minimum(right * dy, left * dy).sum(), np.maximum(right * dy, left * dy).sum()
    return bool(low - 1e-2 * (high - low) <= found[index] <= high + 1e-2 * (high - low))


_OUTSIDE = {
    "complex_step": "not checked: the numeric derivative is not finite; complex numbers overflow in f before real ones",
    "central": "not checked: the numeric derivative is not finite; its step leaves f's domain, of which numbers are at "
    "the edge",
}


def _numeric(pair: Pair, method: str) -> Any:
    """The numeric gradient as a function of (index of the argument, dy)."""

    def forward(*args: Any) -> tuple[Array, Any]:
        y, cache = pair.forward(args)
        if method == "complex_step":
            require_complex(pair, y)
        return y, cache

    gradient = complex_step_gradient if method == "complex_step" else central_gradient
    args = pair.cast(np.float64).args
    return lambda i, dy: gradient(forward, args, dy, i)


def _remembers(trial: Trial, i: int, expected: Array, limit: float) -> str:
    """Whether the gradient is right as long as nothing else is computed in between."""
    direct = trial.direct[i]
    if direct is None or direct.shape != expected.shape or not norm(direct - expected) <= limit * norm(expected):
        return ""
    return "stale: right only if no other forward pass came in between; keep all that it needs in the cache"
