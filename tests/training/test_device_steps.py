"""Training on the device against training on the CPU: the same steps, and nothing read back between them."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from helpers import stand_in
from helpers.device import waits
from helpers.tiny_run import run, tiny_run

from minivit.arrays import to_host
from minivit.model import init_params, named
from minivit.training.device_steps import DeviceSteps
from minivit.training.host_steps import HostSteps
from minivit.training.loop import train
from minivit.training.run_directory import read_metrics
from minivit.training.step import TrainState, fresh_state

STEPS = 10


def change(state: TrainState, config: Any) -> np.ndarray:
    """How far all parameters have come from where they began."""
    start = dict(named(init_params(config.model, 3, np.float64)))
    moved = [to_host(x).astype(np.float64) - start[name] for name, x in named(state.params.tree)]
    return np.concatenate([x.ravel() for x in moved])


def error(found: Any, expected: Any) -> float:
    found = to_host(found).astype(np.float64)
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


CHOICES = {
    "AdamW with clipping, dropout and smoothing": {"dropout": 0.2, "drop_path": 0.3, "label_smoothing": 0.1},
    "SGD, mean pooling, erf": {"optimizer": "sgd", "pooling": "mean", "gelu": "erf", "positions": "sincos"},
    "in parts, with dropout": {"accumulate": 2, "dropout": 0.3},
    "no clipping, no flip, recomputed": {"clip": 0.0, "flip": False, "recompute": True, "crop_padding": 1},
    "all tokens, with drop path": {"skip_unread": False, "drop_path": 0.2},
}


@pytest.mark.parametrize("choices", CHOICES.values(), ids=list(CHOICES))
def test_ten_steps_equal_the_cpus(xp_or_ptx: Any, choices: dict[str, Any]) -> None:
    config, splits = tiny_run(**choices)
    on_cpu, sums_cpu = run(config, splits, "cpu")
    on_device, sums = run(config, splits, "cuda")
    assert error(on_device.params.buffer, on_cpu.params.buffer) < 1e-10
    assert error(on_device.moments.first, on_cpu.moments.first) < 1e-8
    assert sums.loss == pytest.approx(sums_cpu.loss, rel=1e-10)
    assert sums.norm == pytest.approx(sums_cpu.norm, rel=1e-8)
    assert (sums.correct, sums.images, sums.steps) == (sums_cpu.correct, sums_cpu.images, STEPS)


def test_parts_add_up(xp: Any) -> None:
    whole = run(*tiny_run(), "cuda", count=3)
    parts = run(*tiny_run(accumulate=3), "cuda", count=3)
    assert error(parts[0].params.buffer, to_host(whole[0].params.buffer)) < 1e-10
    assert parts[1].loss == pytest.approx(whole[1].loss, rel=1e-12)


@pytest.mark.parametrize("choices", [{"mlp_width": 20, "accumulate": 3}, {"pooling": "mean"}])
def test_masks_are_the_same_in_whatever_parts(
    xp: Any, monkeypatch: pytest.MonkeyPatch, choices: dict[str, Any]
) -> None:
    """The CPU computes a batch three images at a time here, the device all at once or in unequal parts."""
    monkeypatch.setattr("minivit.training.step.PART", 3)
    choices = {"batch_size": 10, "dropout": 0.2, "drop_path": 0.3, **choices}
    on_cpu = change(run(*tiny_run(**choices), "cpu", count=3)[0], tiny_run(**choices)[0])
    on_device = change(run(*tiny_run(**choices), "cuda", count=3)[0], tiny_run(**choices)[0])
    assert error(on_device, on_cpu) < 1e-10


@pytest.mark.parametrize("choices", CHOICES.values(), ids=list(CHOICES))
def test_the_readable_functions_run_there_too(xp: Any, choices: dict[str, Any]) -> None:
    """The plain path: the same source as on the CPU, on the device's arrays."""
    config, splits = tiny_run(ops="reference", **choices)
    states = {}
    for device in ("cpu", "cuda"):
        states[device] = fresh_state(init_params(config.model, 3, np.float64, device), config.training)
        steps = HostSteps(states[device], config, splits, device)
        steps.begin(1, [np.arange(4), np.arange(4, 8)])
        for i in range(2):
            steps.step(i, 1e-2)
    assert isinstance(states["cuda"].params.buffer, xp.ndarray)
    assert error(states["cuda"].params.buffer, states["cpu"].params.buffer) < 1e-10


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-4), ("tf32", 1e-2), ("bfloat16", 1e-1)])
def test_precisions_stay_near_float64(xp_or_ptx: Any, precision: str, tolerance: float) -> None:
    """After ten steps, in which errors grow; a single gradient's are in tests/ops/cuda/test_twins.py."""
    config, splits = tiny_run(optimizer="sgd")
    expected, _ = run(config, splits, "cpu")
    config, _ = tiny_run(optimizer="sgd", precision=precision)
    state, _ = run(config, splits, "cuda", np.float32)
    assert state.params.buffer.dtype == np.float32, "the master weights are float32 in every precision"
    off = error(change(state, config), change(expected, config))
    assert off < tolerance
    assert (off > 2e-4) == (precision != "float32"), "the choice has an effect"


def test_the_copy_follows_the_master_weights(xp: Any) -> None:
    for optimizer in ("adamw", "sgd"):
        config, splits = tiny_run(precision="bfloat16", optimizer=optimizer)
        state = fresh_state(init_params(config.model, 3, np.float32, "cuda"), config.training)
        steps = DeviceSteps(state, config, splits, [1e-2] * 2)
        steps.begin(1, [np.arange(4), np.arange(4, 8)])
        for i in range(2):
            steps.step(i, 1e-2)
        assert steps.weights.buffer.dtype == ml_dtypes.bfloat16
        expected = to_host(state.params.buffer).astype(ml_dtypes.bfloat16)
        assert np.array_equal(to_host(steps.weights.buffer), expected)


def test_two_runs_are_bit_identical(xp: Any) -> None:
    first, second = (run(*tiny_run(dropout=0.2, precision="bfloat16"), "cuda", np.float32, 4)[0] for _ in range(2))
    assert np.array_equal(to_host(first.params.buffer), to_host(second.params.buffer))


def test_a_step_reads_nothing_back(xp: Any) -> None:
    for choices in ({}, {"optimizer": "sgd", "precision": "bfloat16"}, {"accumulate": 2, "dropout": 0.1}):
        config, splits = tiny_run(**choices)
        state = fresh_state(init_params(config.model, 3, np.float32, "cuda"), config.training)
        steps = DeviceSteps(state, config, splits, [1e-3] * 3)
        steps.begin(1, [np.arange(4)] * 3)
        before = waits(xp)
        for i in range(3):
            steps.step(i, 1e-3)
        assert waits(xp) == before, choices
        steps.read()
        assert waits(xp) == before + (1 if xp is stand_in.module else 2)  # CuPy waits for its copy in a second call


def test_a_whole_run_on_the_device_equals_the_cpus(xp: Any, tmp_path: Any) -> None:
    """Through the loop, with evaluation, checkpoints and resuming, exact float32."""
    config, splits = tiny_run(epochs=2, precision="float32")
    train(config, splits, tmp_path / "cpu")
    train(config, splits, tmp_path / "cuda", "cuda")
    on_cpu, on_device = (read_metrics(tmp_path / device) for device in ("cpu", "cuda"))
    for a, b in zip(on_cpu, on_device, strict=True):
        assert b.train_loss == pytest.approx(a.train_loss, rel=1e-4)
        assert b.validation_loss == pytest.approx(a.validation_loss, rel=1e-4)
        assert b.gradient_norm == pytest.approx(a.gradient_norm, rel=1e-4)


def test_a_run_has_no_step_beyond_its_last(xp: Any) -> None:
    config, splits = tiny_run()
    state = fresh_state(init_params(config.model, 3, np.float32, "cuda"), config.training)
    steps = DeviceSteps(state, config, splits, [1e-2])
    steps.begin(1, [np.arange(4)] * 2)
    steps.step(0, 1e-2)
    with pytest.raises(IndexError, match="step 1 of a run of 1 steps"):
        steps.step(1, 1e-2)


def test_curves_are_not_drawn_after_every_short_epoch(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """On a GPU a drawing takes as long as an epoch; the last epoch is in the picture all the same."""
    drawn: list[int] = []
    monkeypatch.setattr("minivit.training.loop.save_curves", lambda rows, path: drawn.append(len(rows)))
    train(*tiny_run(epochs=4), tmp_path)
    assert drawn == [1, 4]
