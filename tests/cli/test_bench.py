"""`minivit bench`: the table, JSON, the picture, and what cannot be measured."""

import json

import pytest
from helpers.command import minivit, refused

from minivit.bench.theirs import theirs as bench_theirs
from minivit.cli import bench

KEYS = {
    "model", "batch", "rounds", "all_tokens", "recompute", "device", "threads", "ops", "python", "numpy",
    "forward_s", "backward_s", "optimizer_s", "step_s", "images_per_s", "gflops",
    "floor_s", "step_over_floor", "peak_memory_mb", "double_batch", "double_depth",
}  # fmt: skip
TORCH_KEYS = {"torch", "torch_step_s", "torch_forward_s", "torch_peak_memory_mb"}
RATIOS = {"ratio_eager", "ratio_inference", "ratio_memory"}


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(
        "[model]\nimage_size = 16\nwidth = 24\ndepth = 1\nheads = 2\ndropout = 0.1\n[training]\nbatch_size = 20\n"
    )
    return path


def test_json(capsys, small):
    outcome = minivit(capsys, "bench", "--config", small, "--rounds", 2, "--json")
    assert outcome.code == 0
    found = json.loads(outcome.out)
    assert set(found) == KEYS
    assert found["batch"] == 20
    assert found["images_per_s"] == pytest.approx(20 / found["step_s"])
    assert found["step_over_floor"] > 0.5


def test_against_torch(capsys, small, tmp_path):
    pytest.importorskip("torch")
    picture = tmp_path / "bench.png"
    outcome = minivit(
        capsys, "bench", "--config", small, "--rounds", 2, "--against", "torch", "--json", "--plot", picture
    )
    found = json.loads(outcome.out)
    assert set(found) == KEYS | TORCH_KEYS | RATIOS
    assert all(found[name] > 0.0 for name in RATIOS)
    assert found["ratio_memory"] == found["peak_memory_mb"] / found["torch_peak_memory_mb"]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_what_stands_when_torch_compile_fails(capsys, small, monkeypatch):
    pytest.importorskip("torch")

    def theirs(workload, compiled=False):
        if compiled:
            raise RuntimeError("no C++ compiler was found.\nand much more")
        return bench_theirs(workload)

    monkeypatch.setattr(bench, "theirs", theirs)
    words = ["bench", "--config", small, "--rounds", 1, "--against", "torch", "--compile", "--batch-size", 4]
    outcome = minivit(capsys, *words, "--json")
    assert outcome.code == 2
    assert json.loads(outcome.out)["compile_error"] == "no C++ compiler was found."
    assert outcome.err.endswith("torch.compile could not be measured: no C++ compiler was found; omit --compile\n")
    assert outcome.err.count("\n") == 1
    outcome = minivit(capsys, *words)
    assert "step / PyTorch eager" in outcome.out
    assert "step / torch.compile" not in outcome.out


def test_the_table_says_where_it_was_measured(capsys, small):
    out = minivit(
        capsys, "bench", "--config", small, "--rounds", 1, "--ops", "reference", "--threads", 1, "--gelu", "erf",
        "--batch-size", 4, "--recompute", "--all-tokens",
    ).out  # fmt: skip
    assert "4 images, 1 core, ops reference" in out
    assert "the last block whole" in out
    assert "GELU erf" in out
    for words in ("whole step", "matrix products alone", "memory of a step", "twice the depth / one"):
        assert words in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--pieces"], "--pieces measures the fused functions of a GPU; give --device cuda"),
        (["--pieces", "--plot", "a.png"], "--pieces is a measurement of its own; give it without --against and --plot"),
        (["--plot", "times.txt"], "--plot is times.txt; expected a name that ends in .png"),
        (["--rounds", "0"], "--rounds is 0; expected at least 1"),
        (["--compile"], "give --against torch with it"),
        (["--config", "none.toml"], "none.toml cannot be read"),
        (["--batch-size", "0"], "batch_size is 0"),
        (["--threads", "-1"], "threads is -1"),
        (["--against", "jax"], "--against is 'jax'; expected one of 'torch'"),
    ],
)
def test_what_cannot_be_measured_is_one_line(capsys, words, said):
    assert said in refused(capsys, "bench", *words)


def test_without_torch_the_comparison_is_refused(capsys, small, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    assert 'pip install -e ".[torch]"' in refused(
        capsys, "bench", "--config", small, "--rounds", "1", "--against", "torch"
    )


def test_a_file_s_settings_hold_where_no_flag_says_otherwise(capsys, small):
    small.write_text(small.read_text() + 'ops = "reference"\nthreads = 1\nskip_unread = false\n')
    found = json.loads(minivit(capsys, "bench", "--config", small, "--rounds", 1, "--json").out)
    assert (found["ops"], found["threads"], found["all_tokens"]) == ("reference", 1, True)
    found = json.loads(minivit(capsys, "bench", "--config", small, "--rounds", 1, "--json", "--threads", 2).out)
    assert (found["ops"], found["threads"]) == ("reference", 2)


def test_a_file_s_precision_is_not_passed_over(capsys, small):
    small.write_text(small.read_text() + 'precision = "bfloat16"\n')
    assert "precision 'bfloat16' needs an NVIDIA GPU" in refused(capsys, "bench", "--config", small)


def test_a_picture_that_cannot_be_written_costs_no_numbers(capsys, small, tmp_path):
    (tmp_path / "file").touch()
    words = ["bench", "--config", small, "--rounds", 1, "--batch-size", 4, "--plot", tmp_path / "file/times.png"]
    outcome = minivit(capsys, *words)
    assert outcome.code == 2
    assert "times.png cannot be written" in outcome.err
    assert "whole step" in outcome.out
