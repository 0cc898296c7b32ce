"""What a trained model says of images it does not learn from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from minivit.arrays import Array, to_device, to_host
from minivit.data import Dataset, normalise
from minivit.functions import cross_entropy, softmax
from minivit.model import ViTConfig, ViTParams, vit
from minivit.training.config import Inputs


class Score(NamedTuple):
    """The result on a data set."""

    loss: float  # mean cross-entropy, without smoothing
    accuracy: float  # share of images in [0, 1]
    images: int


def logits_of(
    params: ViTParams, images: Array, config: ViTConfig, inputs: Inputs, device: str = "cpu", batch: int = 128
) -> Iterator[Array]:
    """Logits (B, classes) in float32 on `device`, batch after batch, for images (N, C, H, W) uint8."""
    for start in range(0, len(images), batch):
        x = normalise(
            to_device(images[start : start + batch], device), inputs.mean, inputs.std, params.patch_weight.dtype
        )
        yield vit(params, x, config)[0]


def evaluate(params: ViTParams, data: Dataset, config: ViTConfig, inputs: Inputs, device: str = "cpu") -> Score:
    """Loss and accuracy of the model on `data`, with nothing dropped. Every image counts once, equally."""
    loss, correct, start = 0.0, 0, 0
    for logits in logits_of(params, data.images, config, inputs, device):
        labels = to_device(data.labels[start : start + len(logits)], device)
        loss += float(cross_entropy(logits, labels)[0]) * len(logits)
        correct += int((logits.argmax(axis=1) == labels).sum())
        start += len(logits)
    return Score(loss / len(data.labels), correct / len(data.labels), len(data.labels))


def predict(params: ViTParams, images: Array, config: ViTConfig, inputs: Inputs, device: str = "cpu") -> Array:
    """Probabilities (N, classes) on the host for images (N, C, H, W) uint8."""
    return np.concatenate([to_host(softmax(x)[0]) for x in logits_of(params, images, config, inputs, device)])
