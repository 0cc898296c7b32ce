"""The array library that the tests of this folder run on: the stand-in everywhere, CuPy where there is a GPU."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from helpers import stand_in
from helpers.cuda_on_cpu import AVAILABLE
from minivit.ops.cuda import launch


@pytest.fixture(params=["stand-in", pytest.param("cupy", marks=pytest.mark.gpu)])
def xp(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """CuPy, or what stands for it."""
    launch._function.cache_clear()
    launch._module.cache_clear()
    if request.param == "cupy":
        cupy = pytest.importorskip("cupy", reason="needs CuPy and an NVIDIA GPU", exc_type=ImportError)
        try:
            cupy.cuda.runtime.getDeviceCount()
        except cupy.cuda.runtime.CUDARuntimeError as error:
            pytest.skip(f"needs an NVIDIA GPU: {error}")
        return cupy
    if not AVAILABLE:
        pytest.skip("needs g++ to run CUDA kernels on the CPU")
    monkeypatch.setitem(sys.modules, "cupy", stand_in.module)
    return stand_in.module
