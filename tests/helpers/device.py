"""The array library that the tests run on: the stand-in everywhere, CuPy where there is a GPU."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from helpers import cuda_on_cpu, ptx, software_gpu, stand_in
from helpers.stand_in_stream import Waits
from minivit.ops.cuda import launch

CUPY = pytest.param("cupy", marks=pytest.mark.gpu)


@pytest.fixture(params=["stand-in", CUPY])
def xp(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """CuPy, or what stands for it."""
    return provided(request.param, monkeypatch)


@pytest.fixture(params=["stand-in", "stand-in, ptx", CUPY])
def xp_or_ptx(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The same, and the stand-in whose kernels run as they were compiled for a GPU."""
    return provided(request.param, monkeypatch)


def provided(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The library of that name, as long as a test runs."""
    launch._function.cache_clear()
    launch._module.cache_clear()
    if name == "cupy":
        cupy = pytest.importorskip("cupy", reason="needs CuPy and an NVIDIA GPU", exc_type=ImportError)
        try:
            cupy.cuda.runtime.getDeviceCount()
        except cupy.cuda.runtime.CUDARuntimeError as error:
            pytest.skip(f"needs an NVIDIA GPU: {error}")
        return cupy
    runs = ptx if name.endswith("ptx") else cuda_on_cpu
    if not runs.AVAILABLE:
        pytest.skip(runs.NEEDS)
    monkeypatch.setitem(sys.modules, "cupy", stand_in.module)
    monkeypatch.setattr(stand_in, "kernels", runs)
    return stand_in.module


def waits(xp: Any) -> int:
    """How often the host has waited for the device; nobody counts that on a GPU, where the test is skipped."""
    if xp is stand_in.module:
        return Waits.count
    if not software_gpu.started():
        pytest.skip("nobody counts what the host reads from a GPU; pytest -m gpu --software-gpu does")
    return software_gpu.waits()
