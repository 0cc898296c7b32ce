"""What a trained model says of images it does not learn from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minivit.arrays import Array, to_device, to_host
from minivit.data import Dataset, normalise
from minivit.errors import MinivitError
from minivit.functions import cross_entropy, softmax
from minivit.model import ViTConfig, ViTParams, vit
from minivit.ops import choose_ops
from minivit.threads import in_parts
from minivit.training.config import Inputs
from minivit.training.precision import multiplied
from minivit.training.settings import TrainSettings
from minivit.training.step import PART


class How(NamedTuple):
    """What to compute with: see TrainSettings."""

    ops: str = "auto"
    threads: int = 0
    precision: str = "auto"
    batch: int = 0  # images at once; 0: a part of a step on the CPU, 256 on a GPU


AUTO = How()
_AT_ONCE = 256  # images, on a GPU


def as_trained(settings: TrainSettings, device: str) -> How:
    """What a model is trained with, as far as `device` has it: it may have been trained on another.

    On a GPU no more images at once than a step takes: there is room for these.
    """
    batch = 0 if device == "cpu" else min(_AT_ONCE, -(-settings.batch_size // settings.accumulate))
    ops = "reference" if settings.ops == "reference" else "auto"  # the others are auto, each on its own device
    return How(ops, settings.threads, settings.precision, batch)


def require_numbers(numbers: Array | float, run: Path) -> None:
    """Raise MinivitError where the model of `run` gives inf or nan: its parameters are too large."""
    if not np.isfinite(numbers).all():
        raise MinivitError(
            f"the model of {run} gives inf or nan: its parameters are too large; restore its checkpoint or train again"
        )


class Score(NamedTuple):
    """The result on a data set."""

    loss: float  # mean cross-entropy, without smoothing
    accuracy: float  # share of images in [0, 1]
    images: int


def logits_of(
    params: ViTParams,
    images: Array,
    config: ViTConfig,
    inputs: Inputs,
    device: str = "cpu",
    how: How = AUTO,
) -> Iterator[Array]:
    """Logits (B, classes) in float32 on `device`, batch after batch, for images (N, C, H, W) uint8."""
    ops = choose_ops(how.ops, device)
    batch = how.batch or (PART if device == "cpu" else _AT_ONCE)
    starts = range(0, len(images), batch)

    def part(i: int) -> Array:
        x = to_device(images[starts[i] : starts[i] + batch], device)
        x = normalise(x, inputs.mean, inputs.std, params.patch_weight.dtype)
        with multiplied(how.precision, device, how.ops):
            return vit(params, x, config, ops=ops, recompute=True, skip_unread=True)[0]  # no cache is kept

    return in_parts(part, len(starts), how.threads) if device == "cpu" else map(part, range(len(starts)))


def evaluate(
    params: ViTParams, data: Dataset, config: ViTConfig, inputs: Inputs, device: str = "cpu", how: How = AUTO
) -> Score:
    """Loss and accuracy of the model on `data`, with nothing dropped. Every image counts once, equally.

    Raises ValueError where there is no image.
    """
    if not len(data.labels):
        raise ValueError("evaluate: data holds no image, of which a loss could be the mean")
    found, start = [], 0
    for logits in logits_of(params, data.images, config, inputs, device, how):
        labels = to_device(data.labels[start : start + len(logits)], device)
        found.append((len(logits), cross_entropy(logits, labels)[0], (logits.argmax(axis=1) == labels).sum()))
        start += len(logits)
    # Read at the end only: reading waits for the GPU.
    loss = sum(float(loss) * images for images, loss, _ in found)
    correct = sum(int(correct) for _, _, correct in found)
    return Score(loss / len(data.labels), correct / len(data.labels), len(data.labels))


def predict(
    params: ViTParams, images: Array, config: ViTConfig, inputs: Inputs, device: str = "cpu", how: How = AUTO
) -> Array:
    """Probabilities (N, classes) on the host for images (N, C, H, W) uint8."""
    found = [to_host(softmax(x)[0]) for x in logits_of(params, images, config, inputs, device, how)]
    return np.concatenate(found) if found else np.zeros((0, config.classes), np.float32)
