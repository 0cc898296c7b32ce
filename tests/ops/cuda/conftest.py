"""Shared by the tests of the fused functions for GPUs, each of which also runs as it was compiled for one."""

from __future__ import annotations

import types
from typing import Any

import numpy as np
import pytest
from helpers import cuda_on_cpu, ptx
from helpers.device import xp_or_ptx
from helpers.kernel_cases import DTYPES, Run

xp = xp_or_ptx


@pytest.fixture(params=[cuda_on_cpu, ptx], ids=["g++", "ptx"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a kernel."""
    if not request.param.AVAILABLE:
        pytest.skip(request.param.NEEDS)
    return request.param.run


@pytest.fixture(params=DTYPES, ids=str)
def dtype(request: pytest.FixtureRequest) -> np.dtype:
    return request.param


@pytest.fixture
def ops(xp: Any) -> types.ModuleType:
    import minivit.ops.cuda as ops

    return ops
