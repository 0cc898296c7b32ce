"""Answers to notebooks/03_linear_softmax_cross_entropy.ipynb."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minivit.arrays import Array
from minivit.functions import cross_entropy, cross_entropy_backward, softmax
from minivit.gradcheck.catalog import normal
from minivit.gradcheck.trial import copied
from minivit.lessons.exercise import pair_exercise
from minivit.lessons.slips import Slip, explained, naming_gradient_slips, naming_slips


def smoothed_cross_entropy(logits: Array, labels: Array, smoothing: float) -> tuple[Array, Any]:
    """Mean cross-entropy of logits (B, C) and labels (B,), smoothed. Returns the loss () and the cache."""
    classes = logits.shape[1]
    t = (labels[:, None] == np.arange(classes)).astype(logits.real.dtype) * (1.0 - smoothing) + smoothing / classes
    z = logits - np.max(logits.real, axis=-1, keepdims=True)
    e = np.exp(z)
    total = np.sum(e, axis=-1, keepdims=True)
    loss = -np.sum(t * (z - np.log(total))) / len(logits)
    return loss, (e / total, t)


def smoothed_cross_entropy_backward(dloss: Array, cache: Any) -> Array:
    """Gradient dlogits (B, C) for dloss ()."""
    p, t = cache
    return dloss * (p - t) / len(p)


def tempered_cross_entropy(logits: Array, tau: Array, labels: Array) -> tuple[Array, Any]:
    """Mean cross-entropy of logits (B, C) / tau () and labels (B,). Returns the loss () and the cache."""
    loss, cache = cross_entropy(logits / tau, labels)
    return loss, (logits, tau, cache)


def tempered_cross_entropy_backward(dloss: Array, cache: Any) -> tuple[Array, Array]:
    """Gradients (dlogits, dtau) for dloss (): dlogits (B, C), dtau ()."""
    logits, tau, loss_cache = cache
    dz = cross_entropy_backward(dloss, loss_cache)
    return dz / tau, -np.sum(dz * logits) / (tau * tau)


def log_softmax(x: Array) -> tuple[Array, Any]:
    """The logarithm of softmax over the last axis of x (..., T). Returns y like x, and the cache."""
    z = x - np.max(x.real, axis=-1, keepdims=True)
    y = z - np.log(np.sum(np.exp(z), axis=-1, keepdims=True))
    return y, y


def log_softmax_backward(dy: Array, cache: Any) -> Array:
    """Gradient dx (..., T) for dy (..., T)."""
    y = cache
    return dy - np.exp(y) * np.sum(dy, axis=-1, keepdims=True)


_SMOOTHED_CASES = (
    (normal(1, 3, 5), np.array([4, 0, 2]), 0.1),
    (normal(2, 2, 7, scale=3.0), np.array([1, 6]), 0.3),
    (normal(9, 2, 4) + np.array([[1000.0], [-1000.0]]), np.array([3, 0]), 0.15),  # exp overflows, by one maximum, too
    (normal(10, 2, 4) + 2000.0 * np.eye(4)[[3, 0]], np.array([3, 0]), 0.15),  # p underflows, and its target is not 0
)


def _cost(log_p: Array, labels: Array, own: float, others: float) -> Any:
    """The mean cost of log_p (B, C) for a target `own` at the labels (B,), and `others` elsewhere."""
    t = np.where(labels[:, None] == np.arange(log_p.shape[1]), own, others)
    return -np.sum(t * log_p) / len(log_p)


def _smoothed_cost(log_p: Array, labels: Array, smoothing: float) -> Any:
    share = smoothing / log_p.shape[1]
    return _cost(log_p, labels, 1.0 - smoothing + share, share)


def _to_the_others(x: Array, labels: Array, s: float) -> Any:
    return _cost(log_softmax(x)[0], labels, 1.0 - s, s / (x.shape[1] - 1))


_SMOOTHING_SLIPS: list[Slip] = [
    (
        "exp overflows: take each row's maximum off its logits first",
        lambda x, labels, s: _smoothed_cost(np.log(np.exp(x) / np.exp(x).sum(1, keepdims=True)), labels, s),
    ),
    (
        "log p is -inf, as p underflows or exp overflows: take z - log(sum(exp(z))), z the logits less each row's "
        "maximum",
        lambda x, labels, s: _smoothed_cost(np.log(softmax(x)[0]), labels, s),
    ),
    ("the smoothing is missing: these are targets of 0 and 1", lambda x, labels, s: cross_entropy(x, labels)[0]),
    ("s is spread over the other classes; expected s / C for each of all C, the label's too", _to_the_others),
    (
        "t is not scaled by 1 - s: here the targets of an image sum to 1 + s",
        lambda x, labels, s: _cost(log_softmax(x)[0], labels, 1.0 + s / x.shape[1], s / x.shape[1]),
    ),
]


def _unsmoothed_backward(dloss: Array, cache: Any) -> Array:
    p, t = cache
    return dloss * (p - (t == np.max(t, axis=-1, keepdims=True))) / len(p)


def _cut_off(tensor: str, attempt: Callable[..., Any], *_: Any) -> str:
    """What to say where log(p + a little) keeps a loss finite that p's underflow would make infinite."""
    found, right = (
        np.array([f(*copied(case))[0] for case in _SMOOTHED_CASES]) for f in (attempt, smoothed_cross_entropy)
    )
    if not np.allclose(found[:-1], right[:-1], rtol=1e-6) or not found[-1] < 0.9 * right[-1]:
        return ""
    if tensor == "y":
        return "p underflows, and log(p + a little) is cut off: log p is z - log(sum(exp(z)))"
    return "this is compared with the derivative of your y, which is cut off where p underflows: mend y first"


EXERCISES = {
    "3.1": naming_gradient_slips(
        naming_slips(
            explained(
                pair_exercise(
                    "label smoothing", smoothed_cross_entropy, smoothed_cross_entropy_backward, *_SMOOTHED_CASES
                ),
                _cut_off,
            ),
            _SMOOTHED_CASES,
            _SMOOTHING_SLIPS,
            names=("y",),
        ),
        _SMOOTHED_CASES,
        [
            (
                "log p stands where p belongs: p - t",
                lambda dloss, cache: dloss * (np.log(cache[0]) - cache[1]) / len(cache[0]),
            ),
            ("the targets here are 0 and 1: p - t has the smoothed t", _unsmoothed_backward),
        ],
    ),
    "3.2": pair_exercise(
        "the temperature",
        tempered_cross_entropy,
        tempered_cross_entropy_backward,
        (normal(3, 3, 5), np.array(1.7), np.array([4, 0, 2])),
        (normal(4, 2, 7), np.array(0.6), np.array([1, 6])),
    ),
    "3.3": pair_exercise(
        "log-softmax",
        log_softmax,
        log_softmax_backward,
        (normal(5, 2, 3, 7),),
        (normal(6, 4, 5) + np.array([0.0, 0.0, 0.0, 0.0, -4000.0]),),  # p underflows, and exp(x - mean) overflows
        (normal(7, 4, 5) + 1000.0,),  # exp overflows
        (normal(8, 2, 5) + np.array([[0.0], [-2000.0]]),),  # each row has a maximum of its own
    ),
}
