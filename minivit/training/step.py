"""One training step: forward, backward, clip, update. The only place where gradients add up.

The functions return gradients; here they are added into one flat buffer, so that a step computed in
several parts (`accumulate`) gives the gradient of the whole batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from minivit.arrays import Array, array_module
from minivit.functions import cross_entropy, cross_entropy_backward
from minivit.model import Flat, ViTConfig, ViTParams, flatten, named, vit, vit_backward
from minivit.randomness import Key
from minivit.training.optimizers import OPTIMIZERS, Moments, clip_by_norm, fresh_moments
from minivit.training.settings import TrainSettings


@dataclass
class TrainState:
    """What changes during training, all of it updated in place."""

    params: Flat
    gradient: Flat
    moments: Moments
    step: int = 0  # steps done since the start


class StepResult(NamedTuple):
    """What a step saw, before its update."""

    loss: float  # mean over the batch
    correct: int  # images whose class was predicted
    gradient_norm: float  # before clipping


def fresh_state(params: ViTParams, settings: TrainSettings) -> TrainState:
    """A state at step 0 that owns a copy of `params`."""
    flat = flatten(params)
    gradient = flatten(params)
    gradient.buffer[...] = 0
    return TrainState(flat, gradient, fresh_moments(flat.buffer, settings.optimizer))


def train_step(
    state: TrainState,
    images: Array,
    labels: Array,
    config: ViTConfig,
    settings: TrainSettings,
    rate: float,
    key: Key | None = None,
) -> StepResult:
    """Learn from images (B, C, H, W), normalised, and labels (B,) at learning rate `rate`; updates `state`.

    The batch is computed in `settings.accumulate` parts. key is the address of dropout's masks; part i of n
    draws at step key.step * n + i.
    """
    parts = np.array_split(np.arange(len(labels)), min(settings.accumulate, len(labels)))
    state.gradient.buffer[...] = 0
    loss, correct = 0.0, 0
    for i, part in enumerate(parts):
        chosen = slice(part[0], part[-1] + 1)
        part_key = None if key is None else key._replace(step=key.step * settings.accumulate + i)
        logits, cache = vit(state.params.tree, images[chosen], config, key=part_key)
        part_loss, loss_cache = cross_entropy(logits, labels[chosen], settings.label_smoothing)
        share = len(part) / len(labels)  # the loss is a mean: each part counts by its images
        _add(state.gradient.tree, vit_backward(cross_entropy_backward(share, loss_cache), cache))
        loss += share * float(part_loss)
        correct += int(array_module(logits).sum(logits.argmax(axis=1) == labels[chosen]))
    norm = clip_by_norm(state.gradient.buffer, settings.clip)
    state.step += 1
    update = OPTIMIZERS[settings.optimizer]
    update(state.params.buffer, state.gradient.buffer, state.moments, state.step, rate, state.params.decayed, settings)
    return StepResult(loss, correct, norm)


def _add(total: ViTParams, gradients: ViTParams) -> None:
    for (_, into), (_, x) in zip(named(total), named(gradients), strict=True):
        into += x
