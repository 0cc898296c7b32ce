"""Every kernel compiles for the GPUs it is meant for, and keeps its numbers in registers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from helpers.cuda_builds import all_builds
from helpers.kernel_sources import kernel_files, signatures
from helpers.nvrtc import Nvrtc, folder
from helpers.ptx import NEEDS

from minivit.ops.cuda.launch import WARP, norm_warps, row_blocks
from minivit.ops.cuda.source import Build, build, source

BUILDS = all_builds()


@pytest.fixture(scope="module")
def nvrtc() -> Nvrtc:
    root = folder()
    if root is None:
        pytest.skip(NEEDS)
    return Nvrtc(root)


# float64 is for checks: one architecture will do.
ARCHITECTURES = ("sm_80", "sm_90", "sm_120")
CHOICES = [(b, a) for b in BUILDS for a in ARCHITECTURES if a == "sm_90" or dict(b.macros)["STORAGE"] != 64]


@pytest.mark.parametrize(
    ("program", "architecture"),
    CHOICES,
    ids=lambda x: x if isinstance(x, str) else f"{x.file}{list(dict(x.macros).values())}",
)
def test_compiles_without_spilling(
    nvrtc: Nvrtc, program: Build, architecture: str, record_property: Callable[[str, object], None]
) -> None:
    uses = nvrtc.compile(program, architecture)
    record_property("registers", str(uses))
    assert set(uses) == set(signatures(program.file))
    macros = dict(program.macros)
    assert all(use.spilled == use.stack == 0 for use in uses.values()), uses
    # 256 threads of a block, twice on a multiprocessor of 65536 registers, where activations are not float64; of
    # attention 160 threads; once for its longest sequence.
    assert all(use.registers <= 64 for name, use in uses.items() if name == "sum_rows"), "its blocks have 1024 threads"
    once = macros["STORAGE"] == 64 or macros.get("TOKENS", 0) > 80
    twice = 200 if program.file == "attention" else 128
    assert all(use.registers <= (255 if once else twice) for use in uses.values()), uses


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_rows_of_up_to_1024_numbers_stay_in_registers(nvrtc: Nvrtc, dtype: str, architecture: str) -> None:
    """As wide as L/16's; H/14's 1280 do not, in the backward pass."""
    uses = nvrtc.compile(build("layer_norm", dtype, WIDTH=1024), architecture)
    assert all(use.spilled == use.stack == 0 for use in uses.values()), uses


def test_a_broken_kernel_does_not_compile(nvrtc: Nvrtc) -> None:
    with pytest.raises(RuntimeError, match="WIDTH"):
        nvrtc.compile(build("layer_norm", "float32"), "sm_90")


def test_every_kernel_file_is_built() -> None:
    assert {b.file for b in BUILDS} == set(kernel_files())


def test_sources_are_self_contained() -> None:
    for file in kernel_files():
        assert '#include "' not in source(file)
        assert signatures(file)


def test_a_choice_is_a_number_to_the_compiler() -> None:
    """Python holds True for 1: whoever asks first decides what both get."""
    build.cache_clear()
    assert "-DERF=1" in build("columns", "float32", VECTOR=1, ERF=True).options
    assert build("columns", np.float32, VECTOR=1, ERF=1) == build("columns", np.dtype(np.float32), VECTOR=1, ERF=1)


def test_unknown_storage() -> None:
    with pytest.raises(ValueError, match="no storage type for int8; expected one of bfloat16, float32, float64"):
        build("columns", "int8")


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("width", [192, 384, 512, 640, 768, 1024, 1280, 1536, 3072])
def test_the_blocks_of_layer_norm_backward_are_all_at_work_at_once(nvrtc: Nvrtc, dtype: str, width: int) -> None:
    """On an H100, by their registers, which are given to a warp in steps of eight a thread."""
    registers = nvrtc.compile(build("layer_norm", dtype, WIDTH=width), "sm_90")["layer_norm_backward"].registers
    assert row_blocks(10**6, 4, 1) == 6 * 132
    warps = norm_warps(width, 4)
    of_a_block = -(-registers // 8) * 8 * WARP * warps
    blocks = row_blocks(10**6, warps, width)
    assert blocks % 132 == 0
    assert blocks // 132 == min(6, 65536 // of_a_block)
