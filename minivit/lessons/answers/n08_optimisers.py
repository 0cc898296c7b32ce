"""Answers to notebooks/08_optimisers.ipynb."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minivit.arrays import Array
from minivit.gradcheck.catalog import normal
from minivit.lessons.exercise import function_exercise
from minivit.lessons.slips import Slip, naming_slips


def adam_l2(
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    t: int,
    rate: float,
    decay: float,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
) -> tuple[Array, Array, Array]:
    """Step t = 1, 2, ... of Adam with an L2 penalty; p, g, m, v are (n,). Returns the new (p, m, v)."""
    g = g + decay * p
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g * g
    m_hat, v_hat = m / (1 - b1**t), v / (1 - b2**t)
    return p - rate * m_hat / (np.sqrt(v_hat) + eps), m, v


def clip_by_norm_of(gradients: Sequence[Array], limit: float) -> tuple[Array, float]:
    """Scale arrays of any shapes so that their common norm is at most limit; one row (n,), and the norm before."""
    row = np.concatenate([np.ravel(g) for g in gradients])
    norm = float(np.sqrt(np.sum(row * row)))
    return row if norm <= limit else row * (limit / norm), norm


def averaged(history: Array, decay: float) -> Array:
    """The moving average (n,) of the points history (S, n), oldest first: a step back counts `decay` times as much."""
    mean = np.zeros(history.shape[1])
    for point in history:
        mean = decay * mean + (1 - decay) * point
    return mean / (1 - decay ** len(history))


def _of_norm(norm: float, *arrays: Array) -> list[Array]:
    """The arrays, scaled so that their common norm is `norm`."""
    size = clip_by_norm_of(arrays, np.inf)[1]
    return [a * (norm / size) for a in arrays]


_RATE, _DECAY = 0.15, 0.3  # not 0.1, which is 1 - b1: a factor would be named wrongly

_ADAM_CASES = (
    (normal(1, 5), normal(2, 5), normal(3, 5), normal(4, 5) ** 2, 3, _RATE, _DECAY),
    # The penalty alone: m and v show how it entered.
    (normal(5, 5), np.zeros(5), np.zeros(5), np.zeros(5), 1, _RATE, _DECAY),
    # The step alone, from p = 0 and far above eps: a missing bias correction is a factor.
    (np.zeros(5), normal(6, 5, scale=1e3), np.zeros(5), np.zeros(5), 2, _RATE, _DECAY),
    (normal(13, 5), normal(14, 5), normal(15, 5), normal(16, 5) ** 2, 4, 0.02, 0.05),
    (normal(17, 5), normal(18, 5), normal(19, 5), normal(20, 5) ** 2, 3, _RATE, _DECAY, 0.7, 0.95, 0.2),
)


def _without_penalty(*args: Any) -> Any:
    return adam_l2(*(*args[:6], 0.0, *args[7:]))


def _decoupled(p: Array, *args: Any) -> Any:
    """AdamW's p; its m and v are as without a penalty."""
    rate, decay = args[4:6]
    return _without_penalty(p, *args)[0] - rate * decay * p, None, None


def _sums(p: Array, g: Array, m: Array, v: Array, t: int, rate: float, decay: float, *numbers: float) -> Any:
    """m and v without the weights 1 - b1 and 1 - b2."""
    b1, b2 = numbers[:2] or (0.9, 0.999)
    g = g + decay * p
    return None, b1 * m + g, b2 * v + g * g


def _corrected(p: Array, g: Array, m: Array, v: Array, t: int, *numbers: float) -> Any:
    """m and v after the bias correction."""
    b1, b2 = numbers[2:4] or (0.9, 0.999)
    _, m, v = adam_l2(p, g, m, v, t, *numbers)
    return None, m / (1 - b1**t), v / (1 - b2**t)


_ADAM_SLIPS: list[Slip] = [
    ("b1, b2 and eps are arguments: use what is given, not 0.9, 0.999 and 1e-8", lambda *args: adam_l2(*args[:7])),
    ("decay * p is taken off p beside the step, as AdamW does: with L2 it is added to g, before all else", _decoupled),
    ("decay * p is missing: add it to g before all else", _without_penalty),
    ("what enters is not weighted, by 1 - b1 in m and by 1 - b2 in v", _sums),
    ("this is the average after the bias correction: return the one before it", _corrected),
]
_MOMENTS = ("p", "m", "v")


def _scaled(gradients: Sequence[Array], factor: float) -> Array:
    return np.concatenate([np.ravel(g) for g in gradients]) * factor


def _each_clipped(gradients: Sequence[Array], limit: float) -> tuple[Array, None]:
    return np.concatenate([clip_by_norm_of([g], limit)[0] for g in gradients]), None


def _values_clipped(gradients: Sequence[Array], limit: float) -> tuple[Array, None]:
    return np.clip(_scaled(gradients, 1.0), -limit, limit), None


def _by_sum_of_norms(gradients: Sequence[Array], limit: float) -> tuple[Array, float]:
    norm = float(sum(np.linalg.norm(g) for g in gradients))
    return _scaled(gradients, min(1.0, limit / norm)), norm


def _norm_after(gradients: Sequence[Array], limit: float) -> tuple[Array, float]:
    row, norm = clip_by_norm_of(gradients, limit)
    return row, min(norm, limit)


_CLIP_CASES = (
    (_of_norm(6.3, normal(7, 2, 3), normal(8, 4), normal(9, 1)), 1.7),
    (_of_norm(0.9, normal(10, 3), normal(11, 2, 2)), 1.7),
    (_of_norm(5.0, normal(17, 4), normal(18, 2, 2)), 0.25),
)
_CLIP_SLIPS: list[Slip] = [
    ("each tensor is clipped by its own norm: all have one norm in common, and one factor", _each_clipped),
    ("each value is clipped: all are scaled by one factor, so that the direction stays", _values_clipped),
    ("the norms are added: the common norm is the root of the sum of all squares", _by_sum_of_norms),
    ("this is the norm after clipping: return the one before", _norm_after),
]


def _from_the_first(history: Array, decay: float) -> Array:
    mean = history[0]
    for point in history[1:]:
        mean = decay * mean + (1 - decay) * point
    return mean


_AVERAGE_CASES = ((np.eye(6), 0.9), (5.0 + normal(12, 8, 3), 0.8))  # the first shows the weights themselves
_AVERAGE_SLIPS: list[Slip] = [
    (
        "it starts at the first point, which then counts too much: start at 0, and divide at the end",
        _from_the_first,
    ),
    ("decay and 1 - decay are swapped: the average keeps `decay` of itself", lambda h, decay: averaged(h, 1 - decay)),
    ("the plain mean: a step back has to count `decay` times as much", lambda h, decay: h.mean(0)),
    ("the newest point is taken for the oldest: history is oldest first", lambda h, decay: averaged(h[::-1], decay)),
]

EXERCISES = {
    "8.1": naming_slips(
        function_exercise(
            "Adam with an L2 penalty",
            adam_l2,
            *_ADAM_CASES,
            names=_MOMENTS,
            numbers={
                "decay": _DECAY,
                "rate": _RATE,
                "1 - b1^t": 1 - 0.9**2,
                "sqrt(1 - b2^t)": (1 - 0.999**2) ** 0.5,
                "(1 - b1^t) / sqrt(1 - b2^t)": (1 - 0.9**2) / (1 - 0.999**2) ** 0.5,
            },
        ),
        _ADAM_CASES,
        _ADAM_SLIPS,
        _MOMENTS,
    ),
    "8.2": naming_slips(
        function_exercise(
            "clipping a list of tensors",
            clip_by_norm_of,
            *_CLIP_CASES,
            names=("clipped", "norm"),
            numbers={"limit / norm": 1.7 / 0.9, "norm": 6.3},
        ),
        _CLIP_CASES,
        _CLIP_SLIPS,
        ("clipped", "norm"),
    ),
    "8.3": naming_slips(
        function_exercise("the average of the weights", averaged, *_AVERAGE_CASES, numbers={"1 - decay^S": 1 - 0.9**6}),
        _AVERAGE_CASES,
        _AVERAGE_SLIPS,
    ),
}
