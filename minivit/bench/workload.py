"""What is measured: a model, a batch, and the floating-point operations that they need."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minivit.arrays import Array, to_device
from minivit.model import ViTConfig, ViTParams, init_params
from minivit.model.params import map_tree
from minivit.training.settings import TrainSettings


class Workload(NamedTuple):
    """One model on one batch."""

    config: ViTConfig
    batch: int
    settings: TrainSettings
    device: str = "cpu"

    def images(self) -> Array:
        """Random images (B, C, H, W), float32, on the host."""
        shape = (self.batch, self.config.channels, *self.config.image_size)
        return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)

    def labels(self) -> Array:
        """Labels (B,), each class as often as the others."""
        return np.arange(self.batch) % self.config.classes

    def params(self, device: str = "cpu") -> ViTParams:
        """Fresh parameters, float32; the head is not 0, so that logits differ."""
        params = init_params(self.config)
        rng = np.random.default_rng(1)
        head = rng.standard_normal(params.head_weight.shape, dtype=np.float32)
        params = params._replace(head_weight=np.asarray(head * np.float32(0.1)))
        return map_tree(lambda x: to_device(x, device), params)


class Product(NamedTuple):
    """Matrix products (rows, inner) x (inner, columns) of one image's forward pass."""

    times: int
    rows: int
    inner: int
    columns: int
    heads: int = 0  # in attention: so many of them, image by image; else one of all images' tokens by a weight


def products(workload: Workload) -> list[Product]:
    """The matrix products of a forward pass; in the last block, where the settings say so, for what is read alone."""
    config = workload.config
    read = 1 if workload.settings.skip_unread and config.pooling == "class_token" else config.tokens
    blocks = [
        p
        for times, rows in ((config.depth - 1, config.tokens), (1, read))
        # On a GPU, attention is computed for all tokens in any case.
        for p in _block(config, times, rows, config.tokens if workload.device == "cuda" else rows)
    ]
    return [
        Product(1, config.patches, config.patch_values, config.width),
        *blocks,
        Product(1, 1, config.width, config.classes),
    ]


def _block(config: ViTConfig, times: int, rows: int, queries: int) -> list[Product]:
    """Those of `times` blocks, of which `rows` tokens come out and in which `queries` attend."""
    tokens, width, hidden, heads = config.tokens, config.width, config.mlp_width, config.heads
    head = width // heads
    return [
        Product(times, tokens, width, 3 * width),
        Product(times, queries, head, tokens, heads),
        Product(times, queries, tokens, head, heads),
        Product(times, rows, width, width),
        Product(times, rows, width, hidden),
        Product(times, rows, hidden, width),
    ]


def step_operations(workload: Workload) -> float:
    """Floating-point operations of the products of a training step: forward, and twice that on the way back."""
    forward = sum(2.0 * p.times * max(1, p.heads) * p.rows * p.inner * p.columns for p in products(workload))
    return 3.0 * forward * workload.batch
