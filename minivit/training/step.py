"""One training step: forward, backward, clip, update. The only place where gradients add up.

The functions return gradients; here they are added into one flat buffer, so that a step computed in
several parts gives the gradient of the whole batch. On the CPU the parts are computed side by side, a core
each, and added in their order: the result does not depend on the number of cores. Only the parts in work
hold activations, so a large batch needs no more memory than a small one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from minivit.arrays import Array, array_module
from minivit.functions import cross_entropy, cross_entropy_backward
from minivit.model import Flat, ViTConfig, ViTParams, flatten, named, vit, vit_backward
from minivit.ops import choose_ops
from minivit.randomness import Key
from minivit.threads import in_parts
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


class Totals(NamedTuple):
    """Sums over the steps of an epoch so far."""

    loss: float = 0.0  # over images
    correct: int = 0
    norm: float = 0.0  # of the gradients before clipping, over steps
    images: int = 0
    steps: int = 0


def fresh_state(params: ViTParams, settings: TrainSettings) -> TrainState:
    """A state at step 0 that owns a copy of `params`."""
    flat = flatten(params)
    gradient = flatten(params)
    gradient.buffer[...] = 0
    return TrainState(flat, gradient, fresh_moments(flat.buffer, settings.optimizer))


# Images in a part on the CPU: enough rows for the matrix products, few enough for the cache and for many cores.
PART = 16


def parts_of(images: int, accumulate: int, device: str = "cpu") -> list[slice]:
    """The parts a batch is computed in: at least `accumulate`, none empty; on the CPU of at most PART images."""
    count = max(accumulate, -(-images // PART)) if device == "cpu" else accumulate
    return [slice(part[0], part[-1] + 1) for part in np.array_split(np.arange(images), min(count, images))]


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

    key is the address of dropout's masks, which are the same in however many parts the batch is computed. Raises
    ValueError unless there is a label for each image, and at least one.
    """
    if not len(images) == len(labels) > 0:
        raise ValueError(
            f"train_step: {len(images)} images and {len(labels)} labels; expected one label for each image"
        )
    device = "cpu" if isinstance(images, np.ndarray) else "cuda"
    parts = parts_of(len(labels), settings.accumulate, device)
    ops = choose_ops(settings.ops, device)

    def part(i: int) -> tuple[ViTParams, float, int]:
        """Gradient, loss and correct predictions of one part, each counted by its images."""
        part_key = None if key is None else key._replace(image=parts[i].start)
        part_labels = labels[parts[i]]
        how = {"recompute": settings.recompute, "skip_unread": settings.skip_unread}
        logits, cache = vit(state.params.tree, images[parts[i]], config, key=part_key, ops=ops, **how)
        loss, loss_cache = cross_entropy(logits, part_labels, settings.label_smoothing)
        share = len(part_labels) / len(labels)  # the loss is a mean
        gradient = vit_backward(cross_entropy_backward(share, loss_cache), cache)
        return gradient, share * float(loss), int(array_module(logits).sum(logits.argmax(axis=1) == part_labels))

    state.gradient.buffer[...] = 0
    loss, correct = 0.0, 0
    computed = in_parts(part, len(parts), settings.threads) if device == "cpu" else map(part, range(len(parts)))
    for gradient, part_loss, part_correct in computed:
        _add(state.gradient.tree, gradient)
        loss += part_loss
        correct += part_correct
    norm = clip_by_norm(state.gradient.buffer, settings.clip)
    state.step += 1
    update = OPTIMIZERS[settings.optimizer]
    update(state.params.buffer, state.gradient.buffer, state.moments, state.step, rate, state.params.decayed, settings)
    return StepResult(loss, correct, norm)


def _add(total: ViTParams, gradients: ViTParams) -> None:
    for (_, into), (_, x) in zip(named(total), named(gradients), strict=True):
        into += x
