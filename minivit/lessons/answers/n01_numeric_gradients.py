"""Answers to notebooks/01_numeric_gradients.ipynb."""

from __future__ import annotations

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
    """By the results; but a real part that was taken for the imaginary one has words of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's, that an imaginary part is discarded: said below
        report = _BY_RESULTS.judge(title, attempt)
        found = np.asarray(attempt(*copied(_NORM), 0))
    if found.dtype.kind == "c":
        raise GradcheckError("the gradient is complex; expected real numbers: y.imag, in an array np.empty(x.shape)")
    if found.dtype.kind == "f" and norm(found) > 1e20:
        raise GradcheckError("the gradient is about 1e30: it is the imaginary part of y that is divided by h, y.imag")
    return report


EXERCISES = {
    "1.1": Exercise(_BY_RESULTS.title, _BY_RESULTS.answer, _judge),
    "1.2": pair_exercise(
        "the planted mistake",
        gated_linear,
        gated_linear_backward,
        (normal(8, 2, 3, 5), normal(9, 5, 4), normal(10, 5, 4)),
        (normal(11, 7, 3), normal(12, 3, 2), normal(13, 3, 2)),
    ),
    "1.3": function_exercise(
        "Richardson's extrapolation",
        richardson,
        (np.tanh, normal(14, 7), 0.3),
        (np.exp, normal(15, 2, 5), 0.1),
        names=("derivative",),
    ),
}
