"""Every problem that the doctor knows, without having it."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest
from helpers import stand_in
from helpers.command import minivit
from helpers.device import xp as xp

from minivit import doctor


def test_on_this_machine(capsys: Any) -> None:
    outcome = minivit(capsys, "doctor")
    lines = outcome.out.splitlines()
    for word in ("Python", "NumPy", "Numba", "result on the CPU", "NVIDIA driver", "CuPy"):
        assert any(word in line for line in lines), word
    assert "cores" in outcome.out
    assert outcome.code == (2 if any(line.startswith("!") for line in lines) else 0)


def test_the_cpus_result_is_computed() -> None:
    finding = doctor.cpu_result()
    assert not finding.wrong
    assert "e-1" in finding.found


@pytest.mark.parametrize(
    ("driver", "wheels", "found", "fix", "wrong"),
    [
        (None, [], "none", "", False),
        (13000, [], "none", 'pip install -e ".[cuda13]"', False),
        (12080, [], "none", 'pip install -e ".[cuda12]"', False),
        (
            13000,
            ["cupy-cuda12x", "cupy-cuda13x"],
            "2 at once, which break each other: cupy-cuda12x, cupy-cuda13x",
            'pip uninstall -y cupy-cuda12x cupy-cuda13x && pip install -e ".[cuda13]"',
            True,
        ),
        (
            12040,
            ["cupy-cuda13x"],
            "cupy-cuda13x, but the driver supports CUDA 12.4 at most",
            'pip uninstall -y cupy-cuda13x && pip install -e ".[cuda12]"',
            True,
        ),
    ],
)
def test_wheels(driver: int | None, wheels: list[str], found: str, fix: str, wrong: bool) -> None:
    assert doctor.cupy_finding(driver, wheels) == doctor.Finding("CuPy", found, fix, wrong)


def test_a_cupy_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    finding = doctor.cupy_finding(13000, ["cupy-cuda13x"])
    assert finding.wrong
    assert "cannot be imported" in finding.found
    assert finding.fix == 'pip uninstall -y cupy-cuda13x && pip install -e ".[cuda13]"'


def test_installed_wheels_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("cupy-cuda12x", "numpy", "cupyx-helpers", "CuPy")
    packages = [types.SimpleNamespace(metadata={"Name": name}) for name in names]
    monkeypatch.setattr("importlib.metadata.distributions", lambda: packages)
    assert doctor.cupy_wheels() == ["cupy", "cupy-cuda12x"]


@pytest.mark.parametrize(("version", "wrong"), [(11080, True), (12000, False), (13010, False), (None, False)])
def test_drivers(version: int | None, wrong: bool) -> None:
    finding = doctor.driver_finding(version)
    assert finding.wrong == wrong
    assert bool(finding.fix) == wrong


def test_a_gpu_that_works(xp: Any) -> None:
    finding = doctor.gpu_result(xp, "cuda13")
    assert not finding.wrong
    assert "agree with NumPy's" in finding.found
    assert "in float64 and" in finding.found
    assert "in bfloat16" in finding.found, "its header is another"


def test_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nvmath.bindings.cublas", None)
    without = doctor.graph_finding("cuda12")
    assert "nvmath-python cannot be used" in without.found
    assert "--graph auto has no effect" in without.found
    assert (without.fix, without.wrong) == ('pip install -e ".[cuda12]"', False)
    monkeypatch.setitem(sys.modules, "nvmath.bindings.cublas", stand_in.nvmath_cublas)
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1.0.0")
    assert doctor.graph_finding("cuda12") == doctor.Finding("CUDA graphs", "nvmath-python 1.0.0")


def _cupy(error: str) -> Any:
    def fail(*_: Any) -> Any:
        raise RuntimeError(error)

    runtime = types.SimpleNamespace(getDeviceProperties=fail, memGetInfo=fail)
    return types.SimpleNamespace(asarray=fail, cuda=types.SimpleNamespace(runtime=runtime))


def test_no_gpu_to_use() -> None:
    (finding,) = doctor.gpu_findings(_cupy("cudaErrorNoDevice: no CUDA-capable device"), "cuda13")
    assert finding.wrong
    assert "no CUDA-capable device" in finding.found
    assert "CUDA_VISIBLE_DEVICES" in finding.fix


def test_missing_headers_and_other_failures() -> None:
    missing = doctor.gpu_result(_cupy('cannot open source file "cuda_bf16.h"'), "cuda13")
    assert (missing.found, missing.fix) == ("CUDA's headers are missing", 'pip install -e ".[cuda13]"')
    other = doctor.gpu_result(_cupy("an illegal instruction\nand more"), "cuda12")
    assert other.found == "kernels do not run (an illegal instruction)"
    assert other.wrong


def test_a_gpu_whose_memory_others_hold() -> None:
    class OutOfMemoryError(Exception):
        pass

    def fail(*_: Any) -> Any:
        raise OutOfMemoryError("Out of memory allocating 512 bytes (allocated so far: 0 bytes).")

    finding = doctor.gpu_result(types.SimpleNamespace(asarray=fail), "cuda13")
    said = "not even this check has room (Out of memory allocating 512 bytes (allocated so far: 0 bytes))"
    assert (finding.found, finding.wrong) == (said, True)
    assert "nvidia-smi" in finding.fix


def test_what_is_wrong_is_marked_and_ends_with_code_2(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(doctor, "driver_version", lambda: 12040)
    monkeypatch.setattr(doctor, "cupy_wheels", lambda: ["cupy-cuda13x"])
    outcome = minivit(capsys, "doctor")
    assert outcome.code == 2
    assert "! CuPy" in outcome.out
    assert '-> pip uninstall -y cupy-cuda13x && pip install -e ".[cuda12]"' in outcome.out
    assert "1 thing marked ! above does not work" in outcome.err
