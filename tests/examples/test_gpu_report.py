"""The report of a GPU machine, as far as a machine without one can run it."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import device, stand_in_blas
from helpers.cifar_files import random_images, write_binary

from minivit.training.config import read_values

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def report() -> Any:
    spec = importlib.util.spec_from_file_location("gpu_report", ROOT / "examples" / "gpu_report.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_machine_and_parts(report: Any, tmp_path: Path, capsys: Any) -> None:
    report.main(["--only", "train", "--out", str(tmp_path / "report.json")])
    written = json.loads((tmp_path / "report.json").read_text())
    assert {"command", "date", "machine"} <= set(written)
    assert "train" not in written, "nothing is trained without data"
    assert "NumPy" in capsys.readouterr().out
    for unknown in (["--only", "tests,benches"], ["--models", "1x1"], ["--precisions", "float8"], ["--batches", "few"]):
        with pytest.raises(SystemExit):
            report.main(unknown)


def test_what_was_measured_before_a_time_limit_is_kept(
    report: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bench(batch: int, **_: Any) -> dict[str, Any]:
        if batch == 128:
            raise KeyboardInterrupt
        return {"step_s": 1}

    monkeypatch.setattr(report, "bench", bench)
    words = ["--only", "bench", "--models", "384x7", "--batches", "1024,128", "--precisions", "bfloat16"]
    with pytest.raises(KeyboardInterrupt):
        report.main([*words, "--out", str(tmp_path / "report.json")])
    written = json.loads((tmp_path / "report.json").read_text())
    row = {"model": "384x7", "batch": 1024, "precision": "bfloat16", "step_s": 1}
    ways = [("off", False), ("auto", False), ("off", True)]
    assert written["bench"] == [row | {"graph": graph, "all_tokens": tokens} for graph, tokens in ways]


def test_what_matters_most_is_measured_first(report: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And compiled against each of our ways; of other sizes, where that takes minutes each, against one."""
    rows: list[dict[str, Any]] = []
    monkeypatch.setattr(report, "bench", lambda **how: rows.append(how) or {})
    report.main(["--only", "bench", "--out", str(tmp_path / "report.json")])
    assert len(rows) == 36
    assert [rows[0][name] for name in ("model", "batch", "precision")] == ["384x7", 1024, "bfloat16"]
    assert [row["compiled"] for row in rows] == ([True] * 6 + [True, False, False] * 4) * 2


def test_what_hangs_or_says_nonsense_costs_itself_alone(
    report: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hangs = "import time; print('so far', flush=True); time.sleep(60)"
    with pytest.raises(TimeoutError, match=r"stopped after 3 s, having said: so far"):
        report.output_of(["-c", hangs], limit=3)
    out = tmp_path / "report.json"

    def stopped(*_: Any, **__: Any) -> Any:
        raise TimeoutError("stopped after 1 s")

    monkeypatch.setattr(report, "output_of", stopped)
    words = ["--only", "tests,bench,pieces,train", "--models", "192x6", "--batches", "128", "--data-dir", "x"]
    report.main([*words, "--out", str(out)])
    found = json.loads(out.read_text())
    assert found["tests"]["error"] == found["train"]["error"] == "TimeoutError: stopped after 1 s"
    assert len(found["bench"]) == 6
    monkeypatch.setattr(report, "output_of", lambda *_, **__: (0, "no JSON", ""))
    report.main(["--only", "bench,pieces", "--models", "192x6", "--batches", "128", "--out", str(out)])
    found = json.loads(out.read_text())
    assert all(row["error"].startswith("JSONDecodeError") and row["batch"] == 128 for row in found["bench"])
    assert found["pieces"]["tf32"]["error"].startswith("JSONDecodeError")
    assert "JSONDecodeError" in report.table(found)


def test_what_a_failed_test_said_is_kept(report: Any, tmp_path: Path) -> None:
    failing = tmp_path / "test_failing.py"
    failing.write_text("def test_one():\n    assert 1 + 1 == 3\n")
    found = report.run_tests("not gpu", "-c", str(ROOT / "pyproject.toml"), str(failing))
    assert (found["code"], found["failed"]) == (1, 1)
    assert "assert (1 + 1) == 3" in found["said"]
    assert "assert" not in report.table({"machine": {}, "tests": found | {"failures": []}})


def test_how_a_product_in_tf32_is_told(report: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    device.provided("stand-in", monkeypatch)
    assert report.tf32_product()["relative_error"] == pytest.approx(2.9e-4, rel=0.05)

    def cut_off(x: np.ndarray) -> np.ndarray:
        return (np.ascontiguousarray(x).view(np.uint32) & ~np.uint32(0x1FFF)).view(np.float32)

    monkeypatch.setattr(stand_in_blas, "tf32", cut_off)
    assert report.tf32_product()["relative_error"] == pytest.approx(7.7e-4, rel=0.05)


def test_without_a_gpu_it_says_so_in_a_line(report: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu_report.py"])
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert report.command() == 2
    said = capsys.readouterr().err
    assert said.startswith("gpu_report: device 'cuda' cannot be used: CuPy cannot be imported")
    assert said.count("\n") == 1
    monkeypatch.setattr(sys, "argv", ["gpu_report.py", "--help"])
    with pytest.raises(SystemExit) as ended:
        report.command()
    assert ended.value.code == 0


def test_every_gpu_test_is_among_those_it_runs(report: Any) -> None:
    on_device = re.compile(r"^def test.*\bxp\b|^from helpers.device import", re.MULTILINE)
    marked = [
        path for path in (ROOT / "tests").rglob("test_*.py") if on_device.search(path.read_text(encoding="utf-8"))
    ]
    assert len(marked) > 5
    folders = [ROOT / path for path in report.GPU_TESTS]
    lost = [path for path in marked if not any(path == folder or folder in path.parents for folder in folders)]
    assert lost == []


def row_of(found: dict[str, Any]) -> dict[str, Any]:
    """A row of the report: what was asked for, and what was found."""
    asked = {"model": "tiny", "batch": 4, "precision": "float32", "graph": "off", "all_tokens": False}
    return asked | found


def test_counts_of_tests(report: Any) -> None:
    found = report.run_tests("not gpu", "tests/training/test_precision.py")
    assert found["code"] == 0
    assert found["passed"] >= 2


def test_ratios_are_named_by_precision(report: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.setitem(report.MODELS, "tiny", (16, 1, 2))
    found = report.bench("tiny", 4, "float32", 1, device="cpu", compiled=False)
    assert {"ratio_eager_float32", "ratio_inference_float32", "step_s"} <= set(found)
    assert found["batch"] == 4
    assert found["images_per_s"] == pytest.approx(4 / found["step_s"])
    assert "tiny batch     4 float32   graph off  what is read" in report.table(
        {"machine": {}, "bench": [row_of(found)]}
    )


@pytest.mark.skipif(sys.platform == "win32", reason="a command of a shell stands in for nvidia-smi")
def test_how_busy_a_gpu_is(report: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On the stand-in; a GPU's share of the time is what nvidia-smi says."""
    device.provided("stand-in", monkeypatch)
    sampler = tmp_path / "nvidia-smi"
    sampler.write_text("#!/bin/sh\nfor share in 0 3 97 98 99 4 0; do echo $share; done\n")
    sampler.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setitem(report.MODELS, "tiny", (16, 1, 2))
    found = report.busy("tf32", "tiny", 2, seconds=0.1)
    assert found["percent"] == 98
    assert found["samples"] == [0, 3, 97, 98, 99, 4, 0]
    assert "busy, tf32: 98 %" in report.table({"machine": {}, "busy": {"tf32": found}})


def test_what_stops_one_part_stops_no_other(report: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without nvidia-smi, say, or a GPU."""
    monkeypatch.setattr(report, "train", lambda *_: {"epochs": 1})
    out = tmp_path / "report.json"
    report.main(["--only", "busy,train", "--precisions", "tf32", "--data-dir", "x", "--out", str(out)])
    found = json.loads(out.read_text())
    assert found["train"] == {"epochs": 1}
    assert "Error: " in found["busy"]["tf32"]["error"]
    assert f"busy, tf32: {found['busy']['tf32']['error'][-200:]}" in report.table(found)


def test_what_was_said_of_a_graph_is_kept(report: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "output_of", lambda *_: (0, '{"step_s": 1, "not_recorded": "a warning"}', "why\n"))
    found = report.bench("192x6", 4, "tf32", 1, graph="auto")
    assert (found["not_recorded"], found["said"], found["step_s"]) == ("a warning", "why", 1)


def test_what_cannot_be_measured_is_said(report: Any) -> None:
    row = row_of({"step_s": 0.002})
    rows = [row, row | {"queue_s": 0.001, "compile_error": "no compiler"}]
    said = report.table({"machine": {}, "bench": rows}).splitlines()
    assert said[0].endswith("what is read 2.0 ms  {}")
    assert said[1].endswith("what is read 2.0 ms, queued in 1.0 ms  {}")
    assert said[2] == "    torch.compile: no compiler"
    rows = [row | {"graph": "auto", "not_recorded": "no nvmath-python"}]
    said = report.table({"machine": {}, "bench": rows}).splitlines()
    assert said[1] == "    not recorded as a graph: no nvmath-python"
    found = report.bench("192x6", 4, "bfloat16", 1, device="cpu")
    assert "precision 'bfloat16' needs an NVIDIA GPU" in found["error"]
    assert "needs an NVIDIA GPU" in report.table({"machine": {}, "bench": [row_of(found)]})


def test_the_configuration_is_the_model_of_the_report(report: Any) -> None:
    values = read_values(ROOT / "examples" / "cifar10_gpu.toml")
    assert tuple(values[name] for name in ("width", "depth", "heads")) == report.MODELS["384x7"]
    assert values["batch_size"] in report.BATCHES


def test_the_training_is_kept_beside_the_report(report: Any, tmp_path: Path) -> None:
    """On the CPU, with a small model: all else as on a GPU."""
    write_binary(tmp_path, "cifar10", *random_images(100, 10), *random_images(10, 10, seed=1))
    small = "--device cpu --precision float32 --width 16 --depth 1 --heads 1 --batch-size 50 --warmup-epochs 0"
    found = report.train(str(tmp_path), 1, tmp_path / "report_run", *small.split())
    assert found["epochs"] == 1
    assert found["last_epoch"]["epoch"] == "1"
    assert (tmp_path / "report_run" / "checkpoints").is_dir()
    assert "train: {'epochs': 1" in report.table({"machine": {}, "train": found})
    refused = report.train(str(tmp_path), 1, tmp_path / "other_run", "--device", "cuda")
    if "error" in refused:  # no GPU here
        assert "device 'cuda' cannot be used" in refused["error"]
