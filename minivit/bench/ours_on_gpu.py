"""minivit's side of a measurement on a GPU: the steps that training queues there, from bytes to the update."""

from __future__ import annotations

import numpy as np

from minivit.arrays import Array, cast, to_device
from minivit.bench.sides import Ours
from minivit.bench.workload import Workload
from minivit.data import Dataset, Splits
from minivit.model import vit
from minivit.ops.cuda.products import exact_products
from minivit.training.config import Inputs, RunConfig
from minivit.training.device_steps import DeviceSteps
from minivit.training.settings import DataSettings
from minivit.training.step import fresh_state

_STEPS = 100_000  # more than any measurement takes: the optimiser's table holds a rate for each


def ours_on_gpu(workload: Workload) -> Ours:
    """minivit on a workload, with its parameters and moments, on the GPU."""
    config, settings = workload.config, workload.settings
    count, channels = workload.batch, config.channels
    names = tuple(map(str, range(config.classes)))
    run = RunConfig(DataSettings(), config, settings, Inputs(names, (0.5,) * channels, (0.25,) * channels))
    pictures = np.random.default_rng(0).integers(0, 256, (count, channels, *config.image_size), np.uint8)
    data = Dataset(pictures, workload.labels(), names)
    state = fresh_state(workload.params("cuda"), settings)
    steps = DeviceSteps(state, run, Splits(data, data, data, ()), [1e-4] * _STEPS)
    steps.begin(1, [np.arange(count)])
    images = cast(to_device(workload.images(), "cuda"), steps.weights.buffer.dtype)

    def forward() -> list[Array]:
        with exact_products(steps.exact):
            logits = vit(steps.weights.tree, images, config, ops=steps.ops, skip_unread=settings.skip_unread)[0]
        steps.wait()
        return [logits]

    def gradients() -> None:
        steps.gradients(steps.tables[0])
        steps.wait()

    def update() -> None:
        steps.update(1e-4)
        steps.wait()

    def step() -> None:
        steps.step(0, 1e-4)
        steps.wait()

    return Ours(forward, gradients, update, step, lambda: steps.step(0, 1e-4), lambda: steps.recorded)
