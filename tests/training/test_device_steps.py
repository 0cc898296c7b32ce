"""Training on the device against training on the CPU: the same steps, and nothing read back between them."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from helpers import stand_in
from helpers.stand_in_stream import Waits
from helpers.tiny_run import tiny_run

from minivit.arrays import to_host
from minivit.model import init_params, named
from minivit.ops.cuda.graph import Graph, GraphMemory, nvmath_gemm, why_no_graph
from minivit.training.device_steps import DeviceSteps
from minivit.training.host_steps import HostSteps
from minivit.training.loop import rates_of_run, train
from minivit.training.run_directory import read_metrics
from minivit.training.step import TrainState, fresh_state

STEPS = 10


def run(config: Any, splits: Any, device: str, dtype: Any = np.float64, count: int = STEPS) -> tuple[TrainState, Any]:
    """`count` steps from the same parameters; returns the state and the sums."""
    state = fresh_state(init_params(config.model, 3, dtype, device), config.training)
    rates = [*rates_of_run(config, splits), *[1e-3] * count][:count]
    runner: HostSteps | DeviceSteps = HostSteps(state, config, splits, "cpu")
    if device == "cuda":
        runner = DeviceSteps(state, config, splits, rates)
    order = np.random.default_rng(0).permutation(len(splits.train.labels))
    runner.begin(1, [np.resize(order[i:], config.training.batch_size) for i in range(count)])
    for i, rate in enumerate(rates):
        runner.step(i, rate)
    return state, runner.read()


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
    if xp is not stand_in.module:
        pytest.skip("only the stand-in counts what the host reads")
    for choices in ({}, {"optimizer": "sgd", "precision": "bfloat16"}, {"accumulate": 2, "dropout": 0.1}):
        config, splits = tiny_run(**choices)
        state = fresh_state(init_params(config.model, 3, np.float32, "cuda"), config.training)
        steps = DeviceSteps(state, config, splits, [1e-3] * 3)
        steps.begin(1, [np.arange(4)] * 3)
        before = Waits.count
        for i in range(3):
            steps.step(i, 1e-3)
        assert Waits.count == before, choices
        steps.read()
        assert Waits.count == before + 1


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


@pytest.fixture
def nvmath(xp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """nvmath-python, or what stands for it."""
    if xp is stand_in.module:
        monkeypatch.setitem(sys.modules, "nvmath.bindings.cublas", stand_in.nvmath_cublas)
    elif reason := why_no_graph():
        pytest.skip(reason)


@pytest.mark.parametrize("choices", [{}, {"accumulate": 2, "pooling": "mean", "positions": "sincos"}])
def test_a_recorded_step_is_the_step_bit_for_bit(xp: Any, nvmath: None, choices: dict[str, Any]) -> None:
    choices = {"dropout": 0.2, "drop_path": 0.2, "precision": "bfloat16", **choices}
    plain, sums = run(*tiny_run(**choices), "cuda", np.float32, 4)
    graph, sums_of_graph = run(*tiny_run(graph="auto", **choices), "cuda", np.float32, 4)
    assert np.array_equal(to_host(graph.params.buffer), to_host(plain.params.buffer))
    assert sums_of_graph == sums


def test_batches_of_two_sizes_are_recorded_each(xp: Any, nvmath: None) -> None:
    found = []
    for graph in ("off", "auto"):
        config, splits = tiny_run(graph=graph, dropout=0.2)
        state = fresh_state(init_params(config.model, 3, np.float32, "cuda"), config.training)
        steps = DeviceSteps(state, config, splits, [1e-2] * 8)
        steps.begin(1, [np.arange(4), np.arange(3), np.arange(4, 8), np.arange(3, 6)] * 2)
        for i in range(8):
            steps.step(i, 1e-2)
        found.append(to_host(state.params.buffer))
        assert len(steps.graphs) == (2 if graph == "auto" else 0)
        assert all(recorded.graph is not None for recorded, _ in steps.graphs.values())
    assert np.array_equal(*found)


def test_a_step_that_cannot_be_recorded_goes_on_without(xp: Any, nvmath: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a recording would do is done all the same, and no half of a graph is launched later."""
    plain, sums = run(*tiny_run(dropout=0.2), "cuda", np.float32, 4)
    whole = DeviceSteps._whole

    def reads_back(steps: DeviceSteps, table: dict[str, Any], rate: float) -> None:
        whole(steps, table, rate)
        float(steps.sums[0])  # no graph may hold that

    monkeypatch.setattr(DeviceSteps, "_whole", reads_back)
    with pytest.warns(UserWarning, match="cannot be recorded as a CUDA graph here .*; it goes on without"):
        without, sums_without = run(*tiny_run(graph="auto", dropout=0.2), "cuda", np.float32, 4)
    assert np.array_equal(to_host(without.params.buffer), to_host(plain.params.buffer))
    assert sums_without == sums


def test_a_cublas_that_cannot_be_opened_records_nothing(xp: Any, nvmath: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> int:
        raise RuntimeError("libcublas is missing")

    monkeypatch.setattr(importlib.import_module("nvmath.bindings.cublas"), "create", fail)
    assert "libcublas is missing" in str(why_no_graph())


def test_what_is_not_recorded(xp: Any, nvmath: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """SGD's learning rate is the host's; and without nvmath-python there is nothing to record with."""

    def stream(**choices: Any) -> Any:
        config, splits = tiny_run(graph="auto", **choices)
        state = fresh_state(init_params(config.model, 3, np.float32, "cuda"), config.training)
        return DeviceSteps(state, config, splits, [1e-2]).stream

    assert stream() is not None
    assert stream(optimizer="sgd") is None
    monkeypatch.setitem(sys.modules, "nvmath.bindings.cublas", None)
    assert stream() is None
    assert 'pip install -e ".[cuda12]" or ".[cuda13]"' in str(why_no_graph())


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


def test_a_graph_is_recorded_anew_when_memory_was_full(xp: Any, nvmath: None) -> None:
    """CuPy's pool may have given back what the graph writes to."""
    memory, work = GraphMemory(xp), xp.zeros(1)
    graph = Graph(xp, xp.cuda.Stream(), nvmath_gemm(xp, xp.cuda.Stream()), memory)

    def add() -> None:
        into = work[0:1]
        into += 1

    for _ in range(3):
        graph.run(add)
    first = graph.graph
    assert first is not None
    memory.full += 1
    graph.run(add)
    assert graph.graph is None
    graph.run(add)
    assert graph.graph not in (None, first)
    assert float(work[0]) == 5


def test_full_memory_is_counted(xp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if xp is not stand_in.module:
        pytest.skip("a GPU's memory is not filled here")

    def fail(size: int) -> None:
        raise MemoryError

    monkeypatch.setattr(xp.cuda, "Memory", fail, raising=False)
    monkeypatch.setattr(xp.cuda, "MemoryPointer", None, raising=False)
    memory = GraphMemory(xp)
    with pytest.raises(MemoryError):
        memory.pool.allocator(512)
    assert memory.full == 1


def test_memory_of_graphs_is_given_back(xp: Any, nvmath: None, monkeypatch: pytest.MonkeyPatch) -> None:
    if xp is not stand_in.module:
        pytest.skip("CuPy's own pool cannot be watched")
    freed: list[str] = []
    monkeypatch.setattr(stand_in.MemoryPool, "free_all_blocks", lambda pool: freed.append("all"))
    config, splits = tiny_run(graph="auto")
    steps = DeviceSteps(
        fresh_state(init_params(config.model, 3, np.float32, "cuda"), config.training), config, splits, [1e-2]
    )
    assert freed == []
    del steps
    assert freed == ["all"]
