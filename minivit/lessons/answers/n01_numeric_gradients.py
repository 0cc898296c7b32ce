"""Answers to notebooks/01_numeric_gradients.ipynb."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minivit import functions as fn
from minivit.arrays import Array
from minivit.gradcheck import GradcheckError, Report
from minivit.gradcheck.catalog import normal
from minivit.gradcheck.derivative import is_float, norm
from minivit.gradcheck.trial import copied
from minivit.lessons.exercise import Exercise, function_exercise, pair_exercise
from minivit.lessons.slips import Slip, naming_gradient_slips, naming_slips

STEP = 1e-30


def complex_step_gradient(f: Callable[..., tuple[Array, Any]], args: Sequence[Any], dy: Array, i: int) -> Array:
    """Gradient of sum(dy * f(*args)[0]) by args[i] (...), entry by entry, by the complex step."""
    moved = [np.array(a, np.complex128) if is_float(a) else a for a in args]  # copies
    x = moved[i]
    gradient = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        x[index] += 1j * STEP
        y, _ = f(*moved)
        gradient[index] = (dy * y.imag).sum() / STEP
        x[index] -= 1j * STEP
    return gradient


def gated_linear(x: Array, w: Array, v: Array) -> tuple[Array, Any]:
    """Map x (..., D) by w (D, E), gated by v (D, E). Returns y (..., E), and the cache."""
    a = x @ w
    s = 1.0 / (1.0 + np.exp(-(x @ v)))
    return a * s, (x, w, v, a, s)


def gated_linear_backward(dy: Array, cache: Any) -> tuple[Array, Array, Array]:
    """Gradients (dx, dw, dv) for dy (..., E)."""
    x, w, v, a, s = cache
    da = dy * s
    dz = dy * a * s * (1.0 - s)
    lead = tuple(range(x.ndim - 1))
    dw, dv = np.tensordot(x, da, (lead, lead)), np.tensordot(x, dz, (lead, lead))
    return da @ w.T + dz @ v.T, dw, dv


def richardson(f: Callable[[Array], Array], x: Array, h: float) -> Array:
    """Derivative of f at x (...), number by number, out of D(h) and D(h / 2); error O(h^4)."""
    coarse = (f(x + h) - f(x - h)) / (2.0 * h)
    fine = (f(x + 0.5 * h) - f(x - 0.5 * h)) / h
    return (4.0 * fine - coarse) / 3.0


_NORM = (fn.layer_norm, (normal(3, 4, 3), normal(4, 3), normal(5, 3)), normal(6, 4, 3))
_BY_RESULTS = function_exercise(
    "the complex step for arrays",
    complex_step_gradient,
    (fn.softmax, (normal(1, 2, 3),), normal(2, 2, 3), 0),
    (*_NORM, 0),
    (*_NORM, 1),
    (fn.cross_entropy, (normal(7, 4, 3), np.array([2, 0, 1, 1])), np.array(0.07), 0),
    names=("gradient",),
    numbers={"h": STEP, "dy": 0.07},
)


def _judge(title: str, attempt: Callable[..., Any]) -> Report:
    """By the results; but what a complex step invites has words of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's, that an imaginary part is discarded: said below
        report = _BY_RESULTS.judge(title, attempt)
        found = np.asarray(attempt(*copied(_NORM), 0))
    if found.dtype.kind == "c":
        raise GradcheckError("the gradient is complex; expected real numbers: y.imag, in an array np.empty(x.shape)")
    if found.dtype.kind == "f" and norm(found) > 1e20:
        raise GradcheckError("the gradient is about 1e30: it is the imaginary part of y that is divided by h, y.imag")
    rows = (
        dataclasses.replace(row, verdict="nearly right: a difference, or a step too long? h may be 1e-30")
        if row.verdict.startswith("nearly right")
        else row
        for row in report.rows
    )
    return dataclasses.replace(report, rows=tuple(rows))


def _gated_by_da(dy: Array, cache: Any) -> tuple[Array, Array, Array]:
    """`gated_linear_backward` with da, which holds s already, in dy's place."""
    x, w, v, a, s = cache
    dx, dw, dv = gated_linear_backward(dy, cache)
    dz_x, _, dv = gated_linear_backward(dy * s, (x, np.zeros_like(w), v, a, s))
    return dx - gated_linear_backward(dy, (x, np.zeros_like(w), v, a, s))[0] + dz_x, dw, dv


def _central(f: Callable[[Array], Array], x: Array, h: float) -> Array:
    return (f(x + h) - f(x - h)) / (2.0 * h)


_GATED_CASES = (
    (normal(8, 2, 3, 5), normal(9, 5, 4), normal(10, 5, 4)),
    (normal(11, 7, 3), normal(12, 3, 2), normal(13, 3, 2)),
)
_RICHARDSON_CASES = ((np.tanh, normal(14, 7), 0.3), (np.exp, normal(15, 2, 5), 0.1))
_RICHARDSON_SLIPS: list[Slip] = [
    (
        "the error goes by h^2, not by h as with forward differences: half the step leaves a quarter of it",
        lambda f, x, h: 2.0 * _central(f, x, 0.5 * h) - _central(f, x, h),
    ),
    (
        "a mean of D(h) and D(h / 2) keeps a part of the error: choose weights with which c cancels",
        lambda f, x, h: 0.5 * (_central(f, x, 0.5 * h) + _central(f, x, h)),
    ),
    (
        "D(h) and D(h / 2) are swapped: the better one has the larger weight",
        lambda f, x, h: (4.0 * _central(f, x, h) - _central(f, x, 0.5 * h)) / 3.0,
    ),
    ("these are D(h) and D(2 h); expected D(h) and D(h / 2)", lambda f, x, h: richardson(f, x, 2.0 * h)),
    ("this is D(h) alone", _central),
    ("this is D(h / 2) alone", lambda f, x, h: _central(f, x, 0.5 * h)),
]


EXERCISES = {
    "1.1": Exercise(_BY_RESULTS.title, _BY_RESULTS.answer, _judge),
    "1.2": naming_gradient_slips(
        pair_exercise("the planted mistake", gated_linear, gated_linear_backward, *_GATED_CASES),
        _GATED_CASES,
        [("dz is taken from da, which holds s already: it begins with dy", _gated_by_da)],
    ),
    "1.3": naming_slips(
        function_exercise("Richardson's extrapolation", richardson, *_RICHARDSON_CASES, names=("derivative",)),
        _RICHARDSON_CASES,
        _RICHARDSON_SLIPS,
        ("derivative",),
    ),
}
