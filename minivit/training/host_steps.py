"""Training steps one after another, each done before the next begins: on the CPU, and with the readable functions."""

from __future__ import annotations

import numpy as np

from minivit.arrays import to_device
from minivit.data import Splits, normalise, random_crop_and_flip, take
from minivit.randomness import Key
from minivit.training.config import RunConfig
from minivit.training.precision import multiplied
from minivit.training.step import StepResult, Totals, TrainState, train_step


class HostSteps:
    """The steps of a run; `state` is updated in place."""

    def __init__(self, state: TrainState, config: RunConfig, splits: Splits, device: str) -> None:
        self.state, self.config, self.splits, self.device = state, config, splits, device
        self.epoch, self.batches = 0, list[np.ndarray]()
        self.sums = Totals()

    def begin(self, epoch: int, batches: list[np.ndarray]) -> None:
        """Start an epoch with the images of each step."""
        self.epoch, self.batches, self.sums = epoch, batches, Totals()

    def step(self, i: int, rate: float) -> None:
        """Do step i of the epoch at learning rate `rate`."""
        index, sums = self.batches[i], self.sums
        result = self._step(index, Key(self.config.training.seed, "augment", self.epoch, i), rate)
        self.sums = Totals(
            sums.loss + result.loss * len(index),
            sums.correct + result.correct,
            sums.norm + result.gradient_norm,
            sums.images + len(index),
            sums.steps + 1,
        )

    def due(self) -> bool:
        """The sums are at hand after every step."""
        return True

    def read(self) -> Totals:
        """The sums since the epoch's beginning."""
        return self.sums

    def _step(self, index: np.ndarray, key: Key, rate: float) -> StepResult:
        """One step on the training images at `index` (B,), augmented at the address `key`."""
        settings, inputs, device = self.config.training, self.config.inputs, self.device
        batch = take(self.splits.train, index)
        images = random_crop_and_flip(to_device(batch.images, device), key, settings.crop_padding, settings.flip)
        x = normalise(images, inputs.mean, inputs.std, self.state.params.buffer.dtype)
        labels = to_device(batch.labels, device)
        with multiplied(settings.precision, device, settings.ops):
            return train_step(self.state, x, labels, self.config.model, settings, rate, key._replace(purpose="dropout"))
