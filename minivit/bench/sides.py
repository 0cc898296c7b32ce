"""What either side of a measurement offers: things to run and time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from minivit.arrays import Array
from minivit.bench.timing import Run


class Ours(NamedTuple):
    """minivit's."""

    forward: Callable[[], list[Array]]  # inference: logits of the batch, part by part
    gradients: Run  # forward and backward, without the update
    update: Run  # clipping and the optimiser
    step: Run  # all of a training step
    queue: Run  # the same, without waiting for a GPU to have done it
    recorded: Callable[[], bool] = lambda: False  # whether the steps so far ended as CUDA graphs


class Theirs(NamedTuple):
    """PyTorch's."""

    forward: Callable[[], Any]  # inference: logits (B, classes), a tensor
    step: Run  # forward, backward, clipping, optimiser
    attention: str = ""  # which way of scaled_dot_product_attention was chosen; "": PyTorch does
