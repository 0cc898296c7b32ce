"""A step as a CUDA graph is the step; what cannot be recorded is done without one, and its memory is given back."""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any

import numpy as np
import pytest
from helpers import stand_in
from helpers.tiny_run import run, tiny_run

from minivit.arrays import to_host
from minivit.model import init_params
from minivit.model.vit import position_table
from minivit.ops.cuda.graph import Graph, GraphMemory, _workspace_bytes, nvmath_gemm, why_no_graph
from minivit.training.device_steps import DeviceSteps
from minivit.training.step import fresh_state


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


def test_memory_that_others_ask_for_between_two_launches_is_not_a_graph_s(xp: Any, nvmath: None) -> None:
    """What a graph reads and writes stays its own: neither takes the other's."""
    found = []
    for others in (False, True):
        config, splits = tiny_run(graph="auto", dropout=0.2, precision="bfloat16")
        state = fresh_state(init_params(config.model, 3, np.float32, "cuda"), config.training)
        steps = DeviceSteps(state, config, splits, [1e-2] * 6)
        kept = []
        for epoch in (1, 2):
            steps.begin(epoch, [np.arange(4)] * 3)
            for i in range(3):
                steps.step(i, 1e-2)
                if others:  # of all sizes that a step's arrays have, and on its stream: CuPy's pool keeps streams apart
                    with steps.stream:
                        kept += [xp.full(2**n, np.nan, dtype=np.float32) for n in range(4, 16) for _ in range(4)]
        assert steps.recorded
        found.append((to_host(state.params.buffer), steps.read()))
        assert all(np.isnan(to_host(x)).all() for x in kept)
    assert np.array_equal(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]


def test_a_graph_s_table_of_positions_is_kept(xp: Any, nvmath: None) -> None:
    """The model's own cache of tables may let it go, while the graph still reads it."""
    config, splits = tiny_run(graph="auto", positions="sincos")
    state = fresh_state(init_params(config.model, 3, np.float32, "cuda"), config.training)
    position_table.cache_clear()
    steps = DeviceSteps(state, config, splits, [1e-2] * 4)
    steps.begin(1, [np.arange(4)] * 2)
    for i in range(2):
        steps.step(i, 1e-2)
    assert steps.positions is position_table(config.model, xp)
    assert position_table.cache_info().misses == 1, "the step read the same"


@pytest.mark.parametrize(("capability", "mib"), [(80, 4), (89, 4), (90, 32), (120, 32)])
def test_cublas_computes_in_as_much_memory_as_nvidia_advises(capability: int, mib: int) -> None:
    assert _workspace_bytes(capability) == mib * 2**20


def test_sums_are_read_when_they_are_there_from_whatever_stream(xp: Any, nvmath: None) -> None:
    config, splits = tiny_run(graph="auto")
    state = fresh_state(init_params(config.model, 3, np.float32, "cuda"), config.training)
    steps = DeviceSteps(state, config, splits, [1e-2] * 4)
    steps.begin(1, [np.arange(4)] * 4)
    for i in range(4):
        steps.step(i, 1e-2)
    with xp.cuda.Stream():
        found = steps.read()
    assert found == steps.read()
    assert found.loss > 0


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
    if xp is stand_in.module:

        def fail(size: int) -> None:
            raise MemoryError

        monkeypatch.setattr(xp.cuda, "Memory", fail, raising=False)
        monkeypatch.setattr(xp.cuda, "MemoryPointer", None, raising=False)
        memory = GraphMemory(xp)
        with pytest.raises(MemoryError):
            memory.pool.allocator(512)
        assert memory.full == 1
        return
    memory = GraphMemory(xp)
    with pytest.raises(MemoryError):
        memory.pool.malloc(xp.cuda.runtime.memGetInfo()[1] + 1)  # more than all that the GPU has
    assert memory.full >= 1  # CuPy tries again after it has given back what is not used


def test_memory_of_graphs_is_given_back(xp: Any, nvmath: None, monkeypatch: pytest.MonkeyPatch) -> None:
    config, splits = tiny_run(graph="auto")
    state = fresh_state(init_params(config.model, 3, np.float32, "cuda"), config.training)
    freed: list[str] = []
    if xp is stand_in.module:
        monkeypatch.setattr(stand_in.MemoryPool, "free_all_blocks", lambda pool: freed.append("all"))
        steps = DeviceSteps(state, config, splits, [1e-2])
        assert freed == []
        del steps
        assert freed == ["all"]
        return
    steps = DeviceSteps(state, config, splits, [1e-2] * 3)
    steps.begin(1, [np.arange(4)] * 3)
    for i in range(3):
        steps.step(i, 1e-2)
    pool = steps.memory.pool
    assert pool.total_bytes() > 0
    del steps
    assert pool.total_bytes() == 0


def test_a_graph_that_filled_the_memory_while_it_was_recorded_is_not_launched(xp: Any, nvmath: None) -> None:
    """CuPy's pool gives back what is unused then, the memory of what was recorded first among it."""
    memory, work = GraphMemory(xp), xp.zeros(1)
    graph = Graph(xp, xp.cuda.Stream(), nvmath_gemm(xp, xp.cuda.Stream()), memory)
    fill = [False, True, False, False, False]  # the second call is recorded, and done again without

    def add() -> None:
        memory.full += fill.pop(0)
        into = work[0:1]
        into += 1

    graph.run(add)
    graph.run(add)
    assert graph.graph is None
    graph.run(add)
    assert graph.graph is not None, "the next time it is recorded"
    graph.stream.synchronize()
    assert float(work[0]) == 3.0


def test_a_graph_is_not_recorded_for_ever(xp: Any, nvmath: None) -> None:
    """Once it is recorded anew, it is launched from then on, however often memory was full before."""
    memory, work, calls = GraphMemory(xp), xp.zeros(1), []
    graph = Graph(xp, xp.cuda.Stream(), nvmath_gemm(xp, xp.cuda.Stream()), memory)

    def add() -> None:
        calls.append(None)
        into = work[0:1]
        into += 1

    for i in range(9):
        memory.full += i in (3, 5)
        graph.run(add)
    assert len(calls) == 6  # done and recorded, three times
    graph.stream.synchronize()
    assert float(work[0]) == 9.0


def test_every_time_that_memory_is_full_counts(xp: Any) -> None:
    def full(size: int) -> None:
        raise MemoryError(size)

    memory = GraphMemory(xp)
    cuda = types.SimpleNamespace(Memory=full, MemoryPointer=lambda memory, offset: memory)
    memory.xp = types.SimpleNamespace(cuda=cuda)
    for times in (1, 2, 3):
        with pytest.raises(MemoryError):
            memory._allocate(512)
        assert memory.full == times


def test_what_cannot_be_recorded_is_not_tried_for_ever(xp: Any, nvmath: None) -> None:
    """Memory that is full may be why; then steps go on without, as the warning says."""
    memory, calls = GraphMemory(xp), []
    graph = Graph(xp, xp.cuda.Stream(), nvmath_gemm(xp, xp.cuda.Stream()), memory)

    def fails_in_a_recording() -> None:
        calls.append(None)
        if len(calls) == 2:
            memory.full += 1
            raise MemoryError("no room")

    graph.run(fails_in_a_recording)
    with pytest.warns(UserWarning, match="cannot be recorded as a CUDA graph here .no room.; it goes on without"):
        graph.run(fails_in_a_recording)
    for _ in range(3):
        graph.run(fails_in_a_recording)
    assert len(calls) == 6
