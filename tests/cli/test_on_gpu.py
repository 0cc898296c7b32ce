"""The commands on a GPU, from the pictures in a folder to the answer: on the stand-in, and where there is one."""

import json

import pytest
from helpers.command import minivit, picture_folder, same_numbers, stop_in_epoch
from helpers.device import xp as xp

from minivit.cli.bench import _table
from minivit.ops.cuda.graph import why_no_graph

MODEL = "--image-size 8 --patch-size 4 --width 16 --depth 1 --heads 1 --mlp-width 16".split()  # noqa: SIM905
TRAINING = "--epochs 2 --batch-size 8 --warmup-epochs 0.5 --dropout 0.1 --learning-rate 1e-2".split()  # noqa: SIM905


@pytest.fixture
def pictures(tmp_path):
    return picture_folder(tmp_path / "pictures", per_class=10, size=(8, 8))


def trained(capsys, pictures, out, *more):
    """What `minivit train` says, on a GPU; its exit code is 0."""
    words = ["train", "--device", "cuda", "--dataset", "folder", "--data-dir", pictures, "--out", out]
    outcome = minivit(capsys, *words, *MODEL, *TRAINING, *more)
    assert (outcome.code, outcome.err) == (0, "")
    return outcome.out


@pytest.mark.parametrize(
    "how", [("--precision", "float32"), ("--precision", "bfloat16"), ("--ops", "reference")], ids=" ".join
)
def test_a_run_is_evaluated_as_it_was_trained(xp, capsys, pictures, tmp_path, how):
    run = tmp_path / "run"
    said = trained(capsys, pictures, run, *how)
    assert "; on the GPU in " in said
    assert "memory: a step needs about " in said
    assert {"cupy", "gpu"} <= json.loads((run / "environment.json").read_text()).keys()
    on_gpu = json.loads(minivit(capsys, "eval", run, "--device", "cuda", "--json").out)
    assert on_gpu == json.loads((run / "results.json").read_text())
    on_cpu = json.loads(minivit(capsys, "eval", run, "--device", "cpu", "--json").out)
    assert on_cpu["test_loss"] == pytest.approx(on_gpu["test_loss"], rel=1e-5 if "float32" in how else 1e-2)


def test_resumed_and_asked(xp, capsys, pictures, tmp_path, monkeypatch):
    run, how = tmp_path / "cut", ("--precision", "bfloat16", "--graph", "auto")
    trained(capsys, pictures, tmp_path / "whole", *how)
    with monkeypatch.context() as patch:
        stop_in_epoch(patch, 2)
        words = ["train", "--device", "cuda", "--dataset", "folder", "--data-dir", pictures, "--out", run]
        assert minivit(capsys, *words, *MODEL, *TRAINING, *how).code == 130
    assert minivit(capsys, "train", "--resume", run).code == 0
    assert same_numbers(tmp_path / "whole", run)
    images = [pictures / "test/dark/0.png", pictures / "test/light/1.png"]
    on_cpu, on_gpu = (
        json.loads(minivit(capsys, "predict", run, *images, "--json", "--device", device).out)
        for device in ("cpu", "cuda")
    )
    assert [x["predictions"][0]["class"] for x in on_gpu] == ["dark", "light"]
    for one, other in zip(on_cpu, on_gpu, strict=True):
        assert other["predictions"][0]["probability"] == pytest.approx(one["predictions"][0]["probability"], rel=1e-2)


def test_bench_of_a_configuration(xp, capsys, tmp_path):
    model = "image_size = 8\npatch_size = 4\nwidth = 16\ndepth = 1\nheads = 1\nmlp_width = 16\n"
    training = "batch_size = 4\ndevice = 'cuda'\nprecision = 'bfloat16'\ngraph = 'auto'\n"
    (tmp_path / "model.toml").write_text(f"[model]\n{model}[training]\n{training}")
    words = ["bench", "--config", tmp_path / "model.toml", "--rounds", 1, "--json"]
    found = json.loads(minivit(capsys, *words).out)
    given = {"device": "cuda", "ops": "cuda", "graph": "auto", "precision": "bfloat16", "batch": 4}
    assert given.items() <= found.items()
    assert {"forward_s", "backward_s", "optimizer_s", "step_s", "queue_s", "double_batch"} <= found.keys()
    assert "floor_s" not in found, "the products alone are timed on the CPU"
    assert "4 images, GPU, ops cuda" in _table(found)
    assert found.get("not_recorded") == why_no_graph()
    said = _table(found).splitlines()[0]
    assert said.endswith(", as a graph" if why_no_graph() is None else f"not recorded as a graph: {why_no_graph()}")
    assert "host, to queue a step" in _table(found)
