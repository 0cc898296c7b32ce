"""Optimisers on one flat buffer: every parameter is updated by the same few array operations.

AdamW   m = b1 m + (1 - b1) g            v = b2 v + (1 - b2) g^2
        p = p - lr wd p                  decoupled: the decay never enters m or v
        p = p - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
SGD     g = g + wd p                     m = momentum m + g          p = p - lr m

The decay applies to p[:decayed], the weight matrices, and to nothing else.

Source: Loshchilov & Hutter 2017 (arXiv:1711.05101), algorithm 2; Sutskever et al. 2013. Both follow
PyTorch's arithmetic: the decay is multiplied by the learning rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from minivit.arrays import Array, array_module
from minivit.training.settings import TrainSettings


class Moments(NamedTuple):
    """What an optimiser remembers between steps: buffers (size,) like the parameters'."""

    first: Array  # mean of the gradients
    second: Array | None  # AdamW: mean of their squares


def adamw(
    params: Array, gradient: Array, moments: Moments, step: int, rate: float, decayed: int, settings: TrainSettings
) -> None:
    """Update params (size,) in place by gradient (size,) for step 1, 2, ...; `moments` are updated too."""
    xp = array_module(params)
    first, second = moments
    assert second is not None
    b1, b2 = settings.beta1, settings.beta2
    first *= b1
    first += (1.0 - b1) * gradient
    second *= b2
    second += (1.0 - b2) * (gradient * gradient)
    params[:decayed] *= 1.0 - rate * settings.weight_decay
    change = xp.sqrt(second)
    change *= 1.0 / math.sqrt(1.0 - b2**step)
    change += settings.adam_eps
    xp.divide(first, change, out=change)
    change *= rate / (1.0 - b1**step)
    params -= change


def sgd(
    params: Array, gradient: Array, moments: Moments, step: int, rate: float, decayed: int, settings: TrainSettings
) -> None:
    """Update params (size,) in place by gradient (size,); `moments.first` is updated too."""
    first = moments.first
    first *= settings.momentum
    first += gradient
    first[:decayed] += settings.weight_decay * params[:decayed]
    params -= rate * first


Optimizer = Callable[[Array, Array, Moments, int, float, int, TrainSettings], None]
OPTIMIZERS: dict[str, Optimizer] = {"adamw": adamw, "sgd": sgd}


def fresh_moments(params: Array, optimizer: str) -> Moments:
    """Zero moments for params (size,) and "adamw" or "sgd"."""
    xp = array_module(params)
    return Moments(xp.zeros_like(params), xp.zeros_like(params) if optimizer == "adamw" else None)


def clip_by_norm(gradient: Array, limit: float) -> float:
    """Scale gradient (size,) in place so that its L2 norm is at most `limit`; returns the norm it had.

    A limit of 0 clips nothing. Source: Pascanu et al. 2012 (arXiv:1211.5063), algorithm 1.
    """
    xp = array_module(gradient)
    norm = math.sqrt(float(xp.sum(gradient * gradient)))
    if 0.0 < limit < norm:
        gradient *= limit / norm
    return norm
