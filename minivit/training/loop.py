"""The training loop: epochs of steps, an evaluation after each, and the test images once, at the end.

Nothing is remembered between steps but parameters and moments: the order of the images, their
augmentation and the dropout masks are all drawn at addresses (seed, purpose, epoch, step). A run that is
resumed after an epoch therefore repeats the uninterrupted one bit for bit.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from minivit.arrays import to_device
from minivit.data import Splits, take
from minivit.errors import MinivitError
from minivit.model import init_params, named
from minivit.plots import save_curves, save_predictions
from minivit.randomness import Key, generator
from minivit.training.checkpoint import MODEL, Checkpoints, load_moments, load_params
from minivit.training.config import RunConfig, require_same_images
from minivit.training.evaluate import Score, as_trained, evaluate, predict
from minivit.training.host_steps import HostSteps
from minivit.training.memory import memory_suffices
from minivit.training.progress import Progress
from minivit.training.run_directory import (
    UNRESUMABLE,
    EpochRow,
    read_metrics,
    start_run,
    write_metrics,
    write_results,
)
from minivit.training.schedule import learning_rate
from minivit.training.settings import TrainSettings
from minivit.training.step import Totals, TrainState, fresh_state

if TYPE_CHECKING:
    from minivit.training.device_steps import DeviceSteps


_DRAWN_SECONDS = 10.0  # between two drawings of the curves: on a GPU a drawing takes as long as an epoch


def train(config: RunConfig, splits: Splits, run: Path, device: str = "cpu", resume: bool = False) -> Score:
    """Train into the directory `run` and return the score on the test images.

    With `resume`, goes on after the last whole epoch that `run` holds. Raises MinivitError if the loss stops
    being a number, the GPU's memory does not suffice, or a file cannot be read or written.
    """
    with memory_suffices(config.model, config.training):
        return _train(config, splits, run, device, resume)


def _train(config: RunConfig, splits: Splits, run: Path, device: str, resume: bool) -> Score:
    settings = config.training
    state = fresh_state(init_params(config.model, settings.seed, device=device), settings)
    rows: list[EpochRow] = []
    if resume:
        rows = _restore(state, config, splits, run, device)
    else:
        start_run(run, config, device)
    progress = Progress(settings.epochs, steps_per_epoch(config, splits), len(rows) + 1)
    try:
        rates, drawn = rates_of_run(config, splits), -math.inf
        runner = _runner(state, config, splits, device, rates)
        # Numbers that overflow are found by looking at each step's loss; NumPy need not warn of them too.
        with np.errstate(over="ignore", invalid="ignore"), Checkpoints(run, config.model) as checkpoints:
            for epoch in range(len(rows) + 1, settings.epochs + 1):
                rows.append(_epoch(state, config, splits, epoch, progress, device, runner, rates))
                write_metrics(run, rows)
                checkpoints.save(state, epoch)
                if epoch < settings.epochs and time.perf_counter() - drawn > _DRAWN_SECONDS:
                    save_curves(rows, run / "curves.png")
                    drawn = time.perf_counter()
                progress.epoch(rows[-1])
            checkpoints.wait()
        save_curves(rows, run / "curves.png")  # also where all epochs were done before, and a stop left it undrawn
    finally:
        progress.close()
    with np.errstate(over="ignore", invalid="ignore"):
        return _finish(state, config, splits, run, device)


def steps_per_epoch(config: RunConfig, splits: Splits) -> int:
    """The number of batches of an epoch: every image once, in batches of equal size to within one image."""
    return math.ceil(len(splits.train.labels) / config.training.batch_size)


def rates_of_run(config: RunConfig, splits: Splits) -> list[float]:
    """The learning rate of every step of a run."""
    settings, steps = config.training, steps_per_epoch(config, splits)
    warmup, total = round(steps * min(settings.warmup_epochs, settings.epochs / 2)), steps * settings.epochs
    ends = settings.learning_rate, settings.final_learning_rate
    return [learning_rate(step, total, warmup, *ends) for step in range(total)]


def _runner(
    state: TrainState, config: RunConfig, splits: Splits, device: str, rates: list[float]
) -> HostSteps | DeviceSteps:
    """What computes the steps: queued on a GPU, one after another on a CPU or with the readable functions."""
    if device == "cuda" and config.training.ops != "reference":
        from minivit.training.device_steps import DeviceSteps

        return DeviceSteps(state, config, splits, rates)
    return HostSteps(state, config, splits, device)


def _epoch(
    state: TrainState,
    config: RunConfig,
    splits: Splits,
    epoch: int,
    progress: Progress,
    device: str,
    runner: HostSteps | DeviceSteps,
    rates: list[float],
) -> EpochRow:
    settings, steps = config.training, steps_per_epoch(config, splits)
    order = generator(Key(settings.seed, "shuffle", epoch)).permutation(len(splits.train.labels))
    start = time.perf_counter()
    runner.begin(epoch, np.array_split(order, steps))
    sums = Totals()
    for i in range(steps):
        runner.step(i, rates[state.step])
        if i + 1 == steps or runner.due():
            sums = runner.read()
            at = f"at epoch {epoch}, step {i + 1}"
            _demand_finite("loss", sums.loss, at, settings)
            _demand_finite("gradient's norm", sums.norm, at, settings)
            speed = sums.images / (time.perf_counter() - start)
            progress.step(epoch, i + 1, sums.loss / sums.images, sums.correct / sums.images, speed)
    trained = time.perf_counter() - start
    how = as_trained(settings, device)
    score = evaluate(state.params.tree, splits.validation, config.model, config.inputs, device, how)
    # The last step's update shows here alone; what it has spoiled must not take the place of the last checkpoint.
    _demand_finite("validation loss", score.loss, f"after epoch {epoch}", settings)
    return EpochRow(
        epoch,
        state.step,
        rates[state.step - 1],
        sums.loss / sums.images,
        sums.correct / sums.images,
        score.loss,
        score.accuracy,
        sums.norm / steps,
        round(time.perf_counter() - start, 2),
        round(sums.images / trained, 1),
    )


def _demand_finite(name: str, value: float, when: str, settings: TrainSettings) -> None:
    """Raises MinivitError if a loss or a gradient's norm is no number any more."""
    if not math.isfinite(value):
        raise MinivitError(
            f"the {name} became {value} {when}; the usual cure is a smaller --learning-rate (it was "
            f"{settings.learning_rate:g}) or a longer --warmup-epochs"
        )


def _restore(state: TrainState, config: RunConfig, splits: Splits, run: Path, device: str) -> list[EpochRow]:
    """Bring `state` to the end of the last whole epoch of `run`; returns the rows of metrics until then."""
    params, epoch = load_params(run / MODEL, config.model)
    for (_, into), (_, x) in zip(named(state.params.tree), named(params), strict=True):
        into[...] = to_device(x, device)
    state.step = load_moments(run, epoch, state.moments, device)
    expected = epoch * steps_per_epoch(config, splits)
    if state.step != expected:
        raise MinivitError(
            f"{run} had done {state.step} steps after epoch {epoch}, but {len(splits.train.labels)} training images "
            f"make it {expected}; resume it on the images that it began with"
        )
    require_same_images(config, splits, run, "resume it on the same images")
    rows = [row for row in read_metrics(run) if row.epoch <= epoch]
    if len(rows) != epoch:
        raise MinivitError(f"{run / 'metrics.csv'} has {len(rows)} of {epoch} epochs; {UNRESUMABLE}")
    return rows


def _finish(state: TrainState, config: RunConfig, splits: Splits, run: Path, device: str) -> Score:
    """Look at the test images, once."""
    params, how = state.params.tree, as_trained(config.training, device)
    score = evaluate(params, splits.test, config.model, config.inputs, device, how)
    _demand_finite("test loss", score.loss, "at the end", config.training)
    write_results(run, score)
    count = len(splits.test.labels)  # in a folder the images lie class by class: some of each are shown
    few = take(splits.test, np.linspace(0, count - 1, min(20, count)).astype(np.int64))
    probabilities = predict(params, few.images, config.model, config.inputs, device, how)
    save_predictions(few.images, few.labels, probabilities, few.classes, run / "predictions.png")
    return score
