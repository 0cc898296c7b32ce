"""Answers to notebooks/03_linear_softmax_cross_entropy.ipynb."""

from __future__ import annotations

from typing import Any

import numpy as np

from minivit.arrays import Array
from minivit.functions import cross_entropy, cross_entropy_backward
from minivit.gradcheck.catalog import normal
from minivit.lessons.exercise import pair_exercise


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


EXERCISES = {
    "3.1": pair_exercise(
        "label smoothing",
        smoothed_cross_entropy,
        smoothed_cross_entropy_backward,
        (normal(1, 3, 5), np.array([4, 0, 2]), 0.1),
        (normal(2, 2, 7, scale=3.0), np.array([1, 6]), 0.3),
        (normal(9, 2, 4) + 1000.0, np.array([3, 0]), 0.2),  # exp overflows
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
        (normal(6, 4, 5) + np.array([0.0, 0.0, 0.0, 0.0, -1000.0]),),  # p underflows
        (normal(7, 4, 5) + 1000.0,),  # exp overflows
        (normal(8, 2, 5) + np.array([[0.0], [-2000.0]]),),  # each row has a maximum of its own
    ),
}
