"""Cross-entropy on the device: loss, gradient and correct predictions in one pass, nothing read back."""

from __future__ import annotations

import numpy as np

from minivit.arrays import Array, array_module
from minivit.ops.cuda.launch import THREADS, launch, real_dtype, sum_rows, warps_grid
from minivit.ops.cuda.source import build


def cross_entropy_in_part(logits: Array, labels: Array, total: int, smoothing: float = 0.0) -> tuple[Array, Array]:
    """(dlogits, sums) for logits (B, C) and labels (B,) int64, a part of a batch of `total` images.

    dlogits (B, C), like the logits, is the gradient of the mean over the batch; sums (2,), float32 or wider, are those
    of the losses and of how many times the largest logit is the label's. Twin of `functions.cross_entropy` and its
    backward.
    """
    xp, real = array_module(logits), real_dtype(logits)
    logits = xp.ascontiguousarray(logits)
    images, classes = logits.shape
    dlogits = xp.empty_like(logits)
    found = xp.empty((images, 2), dtype=real)
    sizes = [np.int32(images), np.int32(total), np.int32(classes)]
    arguments = [logits, labels, real(smoothing), *sizes, dlogits, found]
    launch(build("cross_entropy", logits.dtype), "cross_entropy", warps_grid(images), THREADS, arguments)
    return dlogits, sum_rows(found)
