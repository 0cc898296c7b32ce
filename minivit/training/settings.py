"""What to train on and how: the data and training sections of a configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from minivit.arrays import DeviceName
from minivit.data.load import DatasetName
from minivit.errors import MinivitError
from minivit.fields import parse_fields, setting
from minivit.ops import OpsName

OptimizerName = Literal["adamw", "sgd"]
GraphName = Literal["auto", "off"]
PrecisionName = Literal["auto", "float32", "tf32", "bfloat16"]


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Which images. Raises MinivitError for a value that is none of the field's."""

    dataset: DatasetName = setting("shapes", "what to learn: built-in shapes, CIFAR, or a folder of images")
    data_dir: str = setting("", "where the images lie; empty: CIFAR is downloaded once to a cache")

    def __post_init__(self) -> None:
        parse_fields(self)


# The built-in shapes are easier than photographs: a smaller model learns them within a minute or two. What a
# configuration file or a flag says wins over this.
SHAPES_PRESET: dict[str, Any] = {
    "width": 64,
    "depth": 2,
    "heads": 4,
    "pooling": "mean",
    "epochs": 5,
    "batch_size": 32,
    "learning_rate": 3e-3,
    "crop_padding": 2,
}


_SMALLEST_EPS = 1.2e-38  # of float32, below which numbers lose digits, and on a GPU are 0


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How the model learns. Raises MinivitError for a value that cannot work."""

    epochs: int = setting(8, "passes over the training images")
    batch_size: int = setting(64, "images per step")
    accumulate: int = setting(1, "parts a step is computed in, to save memory; the step is the same but for rounding")
    recompute: bool = setting(False, "compute each block again in the backward pass: less memory, a third more time")
    skip_unread: bool = setting(True, "in the last block, leave out the tokens that the head does not read")
    optimizer: OptimizerName = setting("adamw", "adamw, or sgd with momentum")
    learning_rate: float = setting(1e-3, "highest learning rate, reached after the warm-up")
    final_learning_rate: float = setting(0.0, "what the cosine falls to at the end")
    warmup_epochs: float = setting(1.0, "length of the linear warm-up, at most half of the run")
    weight_decay: float = setting(0.05, "pull of the weight matrices towards 0, times the learning rate")
    beta1: float = setting(0.9, "adamw: memory of the gradients' mean")
    beta2: float = setting(0.999, "adamw: memory of the squared gradients' mean")
    adam_eps: float = setting(1e-8, "adamw: added to the root of the squared gradients' mean")
    momentum: float = setting(0.9, "sgd: memory of the gradients")
    clip: float = setting(1.0, "largest norm of a step's gradient; 0 clips nothing")
    label_smoothing: float = setting(0.0, "share of the target spread evenly over all classes")
    flip: bool = setting(True, "mirror half of the training images")
    crop_padding: int = setting(4, "shift training images by up to so many pixels; 0 shifts none")
    seed: int = setting(0, "same seed, same numbers")
    device: DeviceName = setting("auto", "auto takes the GPU if CuPy finds one")
    ops: OpsName = setting("auto", "auto takes the fused functions of the device; reference the readable")
    precision: PrecisionName = setting("auto", "of products and activations; auto: float32 on a CPU, tf32 on a GPU")
    graph: GraphName = setting("off", "on a GPU: auto records a step of AdamW once and launches it as one CUDA graph")
    threads: int = setting(0, "cores to compute on; 0 means all. Results do not depend on it")

    def __post_init__(self) -> None:
        parse_fields(self)
        for name, low in (
            ("epochs", 1),
            ("batch_size", 1),
            ("accumulate", 1),
            ("crop_padding", 0),
            ("seed", 0),
            ("threads", 0),
        ):
            if getattr(self, name) < low:
                raise MinivitError(f"{name} is {getattr(self, name)}; expected an integer of at least {low}")
        if self.seed >= 2**64:
            raise MinivitError(f"seed is {self.seed}; expected an integer under 2**64")
        if self.accumulate > self.batch_size:
            raise MinivitError(
                f"accumulate is {self.accumulate}, more than batch_size {self.batch_size}; each part needs an image"
            )
        for name, usual in (("learning_rate", 1e-3), ("adam_eps", 1e-8)):
            if not 0.0 < getattr(self, name) < float("inf"):
                raise MinivitError(f"{name} is {getattr(self, name)}; expected a positive number, such as {usual:g}")
        for name in ("final_learning_rate", "warmup_epochs", "weight_decay", "clip"):
            if not 0.0 <= getattr(self, name) < float("inf"):
                raise MinivitError(f"{name} is {getattr(self, name)}; expected 0 or a positive number")
        if self.final_learning_rate > self.learning_rate:
            raise MinivitError(
                f"final_learning_rate is {self.final_learning_rate:g}, above learning_rate {self.learning_rate:g}; "
                "expected what the rate falls to"
            )
        if self.adam_eps < _SMALLEST_EPS:
            raise MinivitError(f"adam_eps is {self.adam_eps:g}, too small for float32; expected a number such as 1e-8")
        for name in ("beta1", "beta2", "momentum", "label_smoothing"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise MinivitError(f"{name} is {getattr(self, name)}; expected a number from 0 to just under 1")
