"""A run so small that every kernel of it can be stepped through on the CPU."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from minivit.data import Dataset, Splits
from minivit.model import ViTConfig
from minivit.training.config import Inputs, RunConfig
from minivit.training.settings import DataSettings, TrainSettings

_MODEL = {field.name for field in dataclasses.fields(ViTConfig)}


def tiny_run(**choices: Any) -> tuple[RunConfig, Splits]:
    """A configuration with `choices` of the model and the training, and 12 random pictures of 3 classes."""
    model = {"image_size": (8, 8), "patch_size": 4, "classes": 3, "width": 16, "depth": 2, "heads": 2, "mlp_width": 24}
    training = {"epochs": 1, "batch_size": 4, "learning_rate": 1e-2, "warmup_epochs": 0.0, "crop_padding": 2}
    for name, value in choices.items():
        (model if name in _MODEL else training)[name] = value
    inputs = Inputs(classes=("a", "b", "c"), mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
    config = RunConfig(DataSettings(), ViTConfig(**model), TrainSettings(**training), inputs)  # type: ignore[arg-type]
    rng = np.random.default_rng(7)

    def pictures(count: int) -> Dataset:
        images = rng.integers(0, 256, (count, 3, 8, 8), np.uint8)
        return Dataset(images, np.arange(count) % 3, inputs.classes)

    return config, Splits(pictures(12), pictures(4), pictures(4), ())
