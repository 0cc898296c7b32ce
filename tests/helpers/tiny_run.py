"""A run so small that every kernel of it can be stepped through on the CPU."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from minivit.data import Dataset, Splits
from minivit.model import ViTConfig, init_params
from minivit.training.config import Inputs, RunConfig
from minivit.training.device_steps import DeviceSteps
from minivit.training.host_steps import HostSteps
from minivit.training.loop import rates_of_run
from minivit.training.settings import DataSettings, TrainSettings
from minivit.training.step import TrainState, fresh_state

_MODEL = {field.name for field in dataclasses.fields(ViTConfig)}


def tiny_run(**choices: Any) -> tuple[RunConfig, Splits]:
    """A configuration with `choices` of the model and the training, and 12 random pictures of 3 classes."""
    model = {"image_size": (8, 8), "patch_size": 4, "classes": 3, "width": 16, "depth": 2, "heads": 2, "mlp_width": 24}
    training = {"epochs": 1, "batch_size": 4, "learning_rate": 1e-2, "warmup_epochs": 0.0, "crop_padding": 2, "seed": 5}
    for name, value in choices.items():
        (model if name in _MODEL else training)[name] = value
    inputs = Inputs(classes=("a", "b", "c"), mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
    config = RunConfig(DataSettings(), ViTConfig(**model), TrainSettings(**training), inputs)  # type: ignore[arg-type]
    rng = np.random.default_rng(7)

    def pictures(count: int) -> Dataset:
        images = rng.integers(0, 256, (count, 3, 8, 8), np.uint8)
        return Dataset(images, np.arange(count) % 3, inputs.classes)

    return config, Splits(pictures(12), pictures(4), pictures(4), ())


def run(config: Any, splits: Any, device: str, dtype: Any = np.float64, count: int = 10) -> tuple[TrainState, Any]:
    """`count` steps from the same parameters; returns the state and the sums."""
    state = fresh_state(init_params(config.model, 3, dtype, device), config.training)
    rates = [*rates_of_run(config, splits), *[1e-3] * count][:count]
    runner: HostSteps | DeviceSteps = HostSteps(state, config, splits, "cpu")
    if device == "cuda":
        runner = DeviceSteps(state, config, splits, rates)
    order = np.random.default_rng(0).permutation(len(splits.train.labels))
    runner.begin(3, [np.resize(order[i:], config.training.batch_size) for i in range(count)])
    for i, rate in enumerate(rates):
        runner.step(i, rate)
    return state, runner.read()
