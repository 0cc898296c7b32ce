"""Training steps on a GPU: queued one after another, from the data set on the device to the update.

The whole data set lies on the GPU as bytes; a step's shuffle, crops and flips are rows of tables that are copied
once an epoch. Nothing is read back but the sums that `read` asks for, so the host runs ahead of the GPU.
"""

from __future__ import annotations

import math
import time
import typing
import weakref
from typing import Any

import numpy as np

from minivit.arrays import Array, array_module, to_device
from minivit.data import Splits
from minivit.data.augment import crop_and_flip_moves
from minivit.errors import MinivitError, first_line, is_out_of_memory
from minivit.model import Flat, ViTParams, named, vit, vit_backward
from minivit.model.params import copied_as
from minivit.model.vit import position_table
from minivit.ops import choose_ops
from minivit.ops.cuda.gather import gather
from minivit.ops.cuda.graph import Graph, GraphMemory, nvmath_gemm, why_no_graph
from minivit.ops.cuda.loss import cross_entropy_in_part
from minivit.ops.cuda.products import exact_products
from minivit.ops.cuda.residual import DeviceKey, words
from minivit.ops.cuda.update import AdamW, augmented_patches, gradient_norm
from minivit.randomness import Key
from minivit.training.config import RunConfig
from minivit.training.optimizers import sgd
from minivit.training.precision import choose_precision
from minivit.training.step import Totals, TrainState, parts_of

_MOVING = ("index", "moves", "keys")  # what a step knows and the next does not
_READ_SECONDS = 1.0  # between two looks at the sums


class DeviceSteps:
    """The steps of a run on a GPU; `state` is updated in place."""

    def __init__(self, state: TrainState, config: RunConfig, splits: Splits, rates: list[float]) -> None:
        """Copy the training images to the GPU. `rates` are the learning rates of all steps of the run."""
        settings = config.training
        self.state, self.config = state, config
        self.xp = xp = array_module(state.params.buffer)
        precision = choose_precision(settings.precision, "cuda", settings.ops)
        self.exact, real = precision.exact, state.params.buffer.dtype
        storage = real if real == np.float64 else precision.storage
        # What the products read: the parameters themselves, or a copy in the storage type that follows them.
        self.weights: Flat = state.params if storage == real else copied_as(state.params, storage)
        self.ops = choose_ops(settings.ops, "cuda")
        # Kept here, or a graph might read a table that the model's own cache of them has let go.
        self.positions = position_table(config.model, xp) if config.model.positions == "sincos" else None
        self.pictures = _pictures(splits.train.images, xp)
        self.labels = to_device(splits.train.labels.astype(np.int64), "cuda")
        mean, std = np.asarray(config.inputs.mean), np.asarray(config.inputs.std)
        self.scale, self.shift = (xp.asarray(x.astype(real)) for x in (1 / (255 * std), -mean / std))
        self.adamw, self.steps_of_run = self._adamw(rates), len(rates)
        self.gradient_views = [x for _, x in named(state.gradient.tree)]
        self.sums = xp.zeros(3, dtype=real)
        self.tables: list[dict[str, Any]] = []
        self.queued = Totals()
        self.last_read = time.perf_counter()
        self.graphs: dict[int, tuple[Graph, dict[str, Any]]] = {}
        self.stream: Any = None  # where recorded steps run; None: each step is queued launch by launch
        if settings.graph == "auto" and settings.optimizer == "adamw" and why_no_graph() is None:
            self.stream = xp.cuda.Stream()
            self.gemm, self.memory = nvmath_gemm(xp, self.stream), GraphMemory(xp)
            weakref.finalize(self, self.memory.pool.free_all_blocks)  # a pool that is forgotten keeps its memory
            assert self.gemm.destroy is not None
            weakref.finalize(self, self.gemm.destroy, self.gemm.handle).atexit = False

    def begin(self, epoch: int, batches: list[np.ndarray]) -> None:
        """Copy what the steps of an epoch need to know, and start its sums at 0."""
        settings, xp = self.config.training, self.xp
        self.tables = []
        keys, moves = [], []
        for i, index in enumerate(batches):
            key = Key(settings.seed, "augment", epoch, i)
            top, left, mirrored = crop_and_flip_moves(len(index), key, settings.crop_padding)
            moves.append(np.stack([top, left, mirrored & settings.flip], axis=1).astype(np.int32))
            parts = parts_of(len(index), settings.accumulate, "cuda")
            keys.append(np.stack([words(key._replace(purpose="dropout", image=part.start)) for part in parts]))
            self.tables.append({"parts": parts})
        order = [index.astype(np.int32) for index in batches]
        for name, rows in (("index", order), ("moves", moves), ("keys", keys)):
            whole, start = xp.asarray(np.concatenate(rows)), 0  # one copy for all steps
            for table, some in zip(self.tables, rows, strict=True):
                table[name] = whole[start : start + len(some)]
                start += len(some)
        self.sums[...] = 0
        self.queued = Totals()

    def step(self, i: int, rate: float) -> None:
        """Queue step i of the epoch at learning rate `rate`.

        Raises IndexError beyond the last step of the run: the device has no learning rate for it.
        """
        if self.state.step >= self.steps_of_run:
            raise IndexError(f"step {self.state.step} of a run of {self.steps_of_run} steps")
        table = self.tables[i]
        images = len(table["index"])
        if self.stream is None:
            self._whole(table, rate)
        else:
            self._recorded(table, images)
        self.state.step += 1
        self.queued = self.queued._replace(images=self.queued.images + images, steps=self.queued.steps + 1)

    def _whole(self, table: dict[str, Any], rate: float) -> None:
        """All that a step does, on the device alone but for the rate, which AdamW reads there too."""
        self.gradients(table)
        self._add(2, self.update(rate))

    def _recorded(self, table: dict[str, Any], images: int) -> None:
        """The same as a graph, one for each size of a batch: its tables are copied to where the graph reads them."""
        if images not in self.graphs:
            fixed = {name: x.copy() if name in _MOVING else x for name, x in table.items()}
            self.graphs[images] = Graph(self.xp, self.stream, self.gemm, self.memory), fixed
        graph, fixed = self.graphs[images]
        with self.stream:
            for name in _MOVING:
                fixed[name][...] = table[name]
        graph.run(lambda: self._whole(fixed, 0.0))

    def gradients(self, table: dict[str, Any]) -> None:
        """Queue the forward and backward passes of a step, an entry of `tables`: the gradient lies in `state` then."""
        with exact_products(self.exact):
            for n, part in enumerate(table["parts"]):
                gradient = self._part(table, part, DeviceKey(table["keys"][n]))
                gather(self.state.gradient.buffer, self.gradient_views, [x for _, x in named(gradient)], add=n > 0)

    def _part(self, table: dict[str, Any], part: slice, key: DeviceKey) -> ViTParams:
        """The gradient of a part of a batch; its loss and correct predictions are added to the sums."""
        model, settings = self.config.model, self.config.training
        index = table["index"][part]
        x = augmented_patches(
            self.pictures, index, table["moves"][part], self.scale, self.shift, settings.crop_padding, model.patch_size,
            self.weights.buffer.dtype,
        )  # fmt: skip
        # A key on the device is not the model's own Key, but the fused functions take it as one.
        how = {"recompute": settings.recompute, "skip_unread": settings.skip_unread}
        logits, cache = vit(self.weights.tree, x, model, key=typing.cast(Any, key), ops=self.ops, **how)
        labels = self.labels[index]
        dlogits, sums = cross_entropy_in_part(logits, labels, len(table["index"]), settings.label_smoothing)
        self._add(0, sums)
        return vit_backward(dlogits, cache)

    def _add(self, i: int, x: Array) -> None:
        """Add x (n,) to the sums from i on. (`self.sums[i : i + n] += x` would also copy the sums onto themselves.)"""
        into = self.sums[i : i + len(x)]
        into += x

    def _adamw(self, rates: list[float]) -> AdamW:
        """The optimiser, with a table of what each step needs and the number of the next one on the device."""
        s, xp = self.config.training, self.xp
        steps = range(1, len(rates) + 1)
        table = [
            (rate, 1 / (1 - s.beta1**step), 1 / math.sqrt(1 - s.beta2**step))
            for step, rate in zip(steps, rates, strict=True)
        ]
        on_device = xp.asarray(np.array(table, self.state.params.buffer.dtype))
        next_step = xp.asarray(np.array([self.state.step], np.int64))
        return AdamW(on_device, next_step, s.beta1, s.beta2, s.adam_eps, s.weight_decay, s.clip)

    def update(self, rate: float) -> Array:
        """Queue clipping and the update; returns the norm (1,) of the gradient, on the device."""
        params, gradient, settings = self.state.params, self.state.gradient.buffer, self.config.training
        copy = None if self.weights is params else self.weights.buffer
        first, second = self.state.moments
        if settings.optimizer == "adamw":
            assert second is not None
            return self.adamw(params.buffer, gradient, first, second, copy, params.decayed)
        found = gradient_norm(gradient, gradient.dtype.type(settings.clip))
        gradient *= found[1:2]
        sgd(params.buffer, gradient, self.state.moments, self.state.step + 1, rate, params.decayed, settings)
        if copy is not None:
            copy[...] = params.buffer.astype(copy.dtype)
        return found[0:1]

    @property
    def recorded(self) -> bool:
        """Whether the steps so far ended as graphs: each size of a batch is recorded in its second step."""
        return bool(self.graphs) and all(graph.graph is not None for graph, _ in self.graphs.values())

    def due(self) -> bool:
        """Whether it is time to look at the sums: looking waits for the GPU."""
        return time.perf_counter() - self.last_read > _READ_SECONDS

    def wait(self) -> None:
        """Until all that is queued is done."""
        self.xp.cuda.get_current_stream().synchronize()
        if self.stream is not None:  # recorded steps run beside what is queued here
            self.stream.synchronize()

    def read(self) -> Totals:
        """Wait for what is queued; the sums since the epoch's beginning."""
        if self.stream is not None:  # reading waits for the current stream alone
            self.stream.synchronize()
        loss, correct, norm = self.sums.get().tolist()
        self.last_read = time.perf_counter()
        return self.queued._replace(loss=loss, correct=round(correct) if correct == correct else 0, norm=norm)


def _pictures(images: Array, xp: Any) -> Array:
    """The training images (N, C, H, W) uint8 on the GPU. Raises MinivitError if they do not fit."""
    try:
        pictures = xp.empty(images.shape, dtype=images.dtype)
        # Straight from where they lie: `asarray` goes by way of page-locked memory, which CuPy would keep.
        pictures.set(images)
        return pictures
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise MinivitError(
            f"the GPU's memory does not suffice for the training images, {images.nbytes / 2**30:.2g} GiB: "
            f"{first_line(error).rstrip('.')}; choose fewer or smaller ones, or --ops reference, which keeps them "
            "on the host"
        ) from error
