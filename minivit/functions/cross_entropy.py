"""Softmax and cross-entropy in one: how surprised the model is by the right answer.

    p = softmax(x)
    loss = - mean over the batch of sum_c t_c log p_c
    dx = (p sum_c t_c - t) / B              with targets that sum to 1: (p - t) / B

t is 1 at the label and 0 elsewhere, or any soft target (mixup). Label smoothing s replaces t by
(1 - s) t + s / C, so that certainty beyond 1 - s no longer pays. Taken together, log and softmax need no
division by a small p: log p = x - log(sum exp x) stays right where p underflows to 0. A logit of -inf rules its
class out: that costs nothing where its target is 0, and everything elsewhere.

Source: Szegedy et al. 2015 (arXiv:1512.00567), section 7 (label smoothing).
"""

from __future__ import annotations

from typing import NamedTuple

from minivit.arrays import Array, array_module, cast, is_integer, real_part, wide


class CrossEntropyCache(NamedTuple):
    """What the backward pass needs."""

    p: Array  # (B, C)  probabilities, float32 or wider
    t: Array  # (B, C)  targets after smoothing, float32 or wider
    dtype: object  # the logits', which their gradient gets


def cross_entropy(logits: Array, targets: Array, smoothing: float = 0.0) -> tuple[Array, CrossEntropyCache]:
    """Mean cross-entropy of logits (B, C) and targets: labels (B,) of an integer type, or weights (B, C).

    Returns the loss (), float32 or wider, and the cache. Raises ValueError if the shapes do not fit, the
    smoothing is not in [0, 1), or (on the CPU, where looking costs nothing) a label is not in 0 .. C - 1.
    """
    xp = array_module(logits)
    t = cast(_target_weights(logits, targets), real_part(wide(logits)).dtype)
    if not 0.0 <= smoothing < 1.0:
        raise ValueError(f"cross_entropy: smoothing {smoothing} is not in [0, 1)")
    t = t * (1.0 - smoothing) + smoothing / logits.shape[1]
    z = wide(logits) - xp.max(wide(real_part(logits)), axis=-1, keepdims=True)
    e = xp.exp(z)
    total = xp.sum(e, axis=-1, keepdims=True)
    log_p = xp.where(t != 0.0, z - xp.log(total), 0.0)  # a class ruled out by a logit of -inf costs 0, not 0 * inf
    loss = -xp.sum(t * log_p) / logits.shape[0]
    return loss, CrossEntropyCache(e / total, t, logits.dtype)


def cross_entropy_backward(dloss: Array | float, cache: CrossEntropyCache) -> Array:
    """Gradient dlogits (B, C) like the logits, for dloss () (1.0 where the loss is what is minimised)."""
    p, t, dtype = cache
    dlogits = p * array_module(p).sum(t, axis=-1, keepdims=True) - t
    return cast(dlogits * (dloss / p.shape[0]), dtype)


def _target_weights(logits: Array, targets: Array) -> Array:
    """Targets (B,) or (B, C) as weights (B, C)."""
    xp = array_module(logits)
    if logits.ndim != 2 or targets.shape not in (logits.shape, logits.shape[:1]):
        raise ValueError(
            f"cross_entropy: logits {logits.shape} need the axes (B, C) and targets of shape (B,) or (B, C), "
            f"got {targets.shape}"
        )
    if targets.ndim == 2:
        return targets
    if not is_integer(targets):
        raise ValueError(f"cross_entropy: labels (B,) need an integer type, got {targets.dtype}")
    classes = logits.shape[1]
    if xp.__name__ == "numpy" and targets.size and not 0 <= int(targets.min()) <= int(targets.max()) < classes:
        raise ValueError(f"cross_entropy: labels from {targets.min()} to {targets.max()} do not fit {classes} classes")
    # Compared as int64: the class numbers may not fit the labels' own type (uint8, say).
    return xp.arange(classes, dtype=xp.int64)[None, :] == cast(targets, xp.int64)[:, None]
