"""Answers to notebooks/04_layer_norm.ipynb."""

from __future__ import annotations

from typing import Any

import numpy as np

from minivit.arrays import Array
from minivit.gradcheck.catalog import normal
from minivit.lessons.exercise import function_exercise, pair_exercise
from minivit.lessons.slips import Slip, naming_gradient_slips, naming_slips


def rms_norm(x: Array, g: Array, eps: float = 1e-6) -> tuple[Array, Any]:
    """Scale x (..., D) to a mean square of 1, then by g (D,). Returns y like x, and the cache."""
    r = (np.mean(x * x, axis=-1, keepdims=True) + eps) ** -0.5
    return x * r * g, (x, g, r)


def rms_norm_backward(dy: Array, cache: Any) -> tuple[Array, Array]:
    """Gradients (dx, dg) for dy (..., D)."""
    x, g, r = cache
    u = x * r
    du = dy * g
    dx = r * (du - u * np.mean(du * u, axis=-1, keepdims=True))
    dg = np.sum(dy * u, axis=tuple(range(dy.ndim - 1)))
    return dx, dg


def norm_of_eps(x: Array, eps: Array) -> tuple[Array, Any]:
    """Normalise x (..., D) with eps (), an array like any other. Returns y like x, and the cache."""
    c = x - np.mean(x, axis=-1, keepdims=True)
    r = (np.mean(c * c, axis=-1, keepdims=True) + eps) ** -0.5
    return c * r, (c * r, r)


def norm_of_eps_backward(dy: Array, cache: Any) -> tuple[Array, Array]:
    """Gradients (dx, deps) for dy (..., D): eps () gets the sum over every token."""
    u, r = cache
    dx = r * (dy - np.mean(dy, axis=-1, keepdims=True) - u * np.mean(dy * u, axis=-1, keepdims=True))
    return dx, np.sum(dy * u * r * r) * -0.5


def fold(g: Array, b: Array, w: Array, c: Array) -> tuple[Array, Array]:
    """Take gain g (D,) and shift b (D,) into the weight w (D, E) and bias c (E,) of the linear layer that follows."""
    return g[:, None] * w, b @ w + c


_RMS_CASES = (
    (normal(1, 2, 3, 7), normal(2, 7)),
    (normal(3, 5, 6), normal(4, 6)),
    (normal(11, 4, 5), normal(12, 5), 0.2),
)
_RMS_SLIPS: list[Slip] = [("eps is an argument: use what is given, not 1e-6", lambda x, g, eps=0.0: rms_norm(x, g)[0])]


def _rms_without_g(dy: Array, cache: Any) -> tuple[Array, Array]:
    x, g, r = cache
    return rms_norm_backward(dy, (x, np.ones_like(g), r))


def _rms_dg_by_x(dy: Array, cache: Any) -> tuple[Array, Array]:
    x, _, _ = cache
    return rms_norm_backward(dy, cache)[0], np.sum(dy * x, axis=tuple(range(dy.ndim - 1)))


_RMS_GRADIENT_SLIPS: list[Slip] = [
    ("g is missing: the normalised x gets dy * g", _rms_without_g),
    ("g meets the normalised x, x * r: here it is x itself", _rms_dg_by_x),
]
_FOLD_CASES = ((normal(6, 5), normal(7, 5), normal(8, 5, 3), normal(9, 3)),)
_FOLD_SLIPS: list[Slip] = [  # each of one of the two results
    ("g is missing: row d of w is scaled by g[d]", lambda g, b, w, c: (w, None)),
    ("b is mapped by the folded weight: expected by w as it was", lambda g, b, w, c: (None, b @ (g[:, None] * w) + c)),
    ("c is missing: it stays, beside what b adds", lambda g, b, w, c: (None, b @ w)),
    ("b is missing: the layer maps it, too, by w", lambda g, b, w, c: (None, c)),
    ("g stands in the place of b", lambda g, b, w, c: (None, g @ w + c)),
]

EXERCISES = {
    "4.1": naming_gradient_slips(
        naming_slips(
            pair_exercise("RMSNorm", rms_norm, rms_norm_backward, *_RMS_CASES), _RMS_CASES, _RMS_SLIPS, ("y",)
        ),
        _RMS_CASES,
        _RMS_GRADIENT_SLIPS,
    ),
    "4.2": pair_exercise(
        "the derivative by eps",
        norm_of_eps,
        norm_of_eps_backward,
        (normal(5, 3, 4, 7, scale=0.3), np.array(0.05)),  # no axis of length 2: a forgotten half is no axis
        (normal(10, 4, 5), np.array(0.3)),
    ),
    "4.3": naming_slips(
        function_exercise("folding gain and shift away", fold, *_FOLD_CASES, names=("w", "c")),
        _FOLD_CASES,
        _FOLD_SLIPS,
        ("w", "c"),
    ),
}
