"""minivit's side of a measurement: the step that training takes, and its parts."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TypeVar

from minivit.arrays import Array, synchronize, to_device
from minivit.bench.sides import Ours
from minivit.bench.workload import Workload
from minivit.functions import cross_entropy, cross_entropy_backward
from minivit.model import vit, vit_backward
from minivit.ops import choose_ops
from minivit.threads import in_parts
from minivit.training.optimizers import OPTIMIZERS, clip_by_norm
from minivit.training.precision import multiplied
from minivit.training.step import fresh_state, parts_of, train_step

Result = TypeVar("Result")


def ours(workload: Workload) -> Ours:
    """minivit on a workload, with its parameters and moments."""
    config, settings, device = workload.config, workload.settings, workload.device
    if device == "cuda" and settings.ops != "reference":
        from minivit.bench.ours_on_gpu import ours_on_gpu

        return ours_on_gpu(workload)
    images, labels = (to_device(a, device) for a in (workload.images(), workload.labels()))
    state = fresh_state(workload.params(device), settings)
    ops = choose_ops(settings.ops, device)
    parts = parts_of(workload.batch, settings.accumulate, device)

    def each_part(function: Callable[[int], Result]) -> list[Result]:
        if device == "cpu":
            return list(in_parts(function, len(parts), settings.threads))
        with multiplied(settings.precision, device, settings.ops):
            found = [function(i) for i in range(len(parts))]
        synchronize(images)
        return found

    def logits(i: int) -> Array:
        return vit(state.params.tree, images[parts[i]], config, ops=ops, skip_unread=settings.skip_unread)[0]

    def gradient(i: int) -> None:
        recompute, skip_unread = settings.recompute, settings.skip_unread
        found, cache = vit(
            state.params.tree, images[parts[i]], config, ops=ops, recompute=recompute, skip_unread=skip_unread
        )
        _, loss_cache = cross_entropy(found, labels[parts[i]])
        vit_backward(cross_entropy_backward(1.0, loss_cache), cache)

    def update() -> None:
        clip_by_norm(state.gradient.buffer, settings.clip)
        change = OPTIMIZERS[settings.optimizer]
        change(state.params.buffer, state.gradient.buffer, state.moments, 1, 1e-4, state.params.decayed, settings)
        synchronize(images)

    def step() -> None:
        with multiplied(settings.precision, device, settings.ops):
            train_step(state, images, labels, config, settings, 1e-4)
        synchronize(images)

    return Ours(lambda: each_part(logits), lambda: each_part(gradient), update, step, step)


def free_memory(device: str) -> None:
    """Give back what nobody uses any more: CuPy keeps a GPU's memory for later, and another model may need it."""
    if device == "cuda":
        import cupy

        gc.collect()
        cupy.get_default_memory_pool().free_all_blocks()
