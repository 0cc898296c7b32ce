"""`minivit train`: every layout of data, the run directory, repetition, resumption, and refusals."""

import csv
import json
import re
import shutil
import sys
import tomllib

import numpy as np
import pytest
from helpers.cifar_files import random_images, write_binary, write_python
from helpers.command import TINY, folder_run, minivit, picture_folder, refused, same_numbers

from minivit.data import Splits, shapes
from minivit.model import variant
from minivit.training.settings import SHAPES_PRESET, TrainSettings


def test_a_run_leaves_everything_that_is_promised(capsys, tmp_path, pictures):
    run = tmp_path / "run"
    outcome = folder_run(capsys, pictures, run, "--seed", 3)
    config = tomllib.loads((run / "config.toml").read_text())
    assert config["training"]["seed"] == 3
    assert config["model"]["classes"] == 2
    assert config["inputs"]["classes"] == ["dark", "light"]
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[1]["validation_loss"]) < 0.8
    assert {"python", "numpy", "minivit", "blas"} <= json.loads((run / "environment.json").read_text()).keys()
    assert 0 <= json.loads((run / "results.json").read_text())["test_accuracy"] <= 1
    for picture in ("curves.png", "predictions.png"):
        assert (run / picture).read_bytes().startswith(b"\x89PNG")
    assert (run / "checkpoints/model.safetensors").stat().st_size > 1000
    assert not [p for p in run.rglob("*") if p.name.startswith(".")]
    assert "epoch 2/2" in outcome.out
    assert "test accuracy" in outcome.out
    assert "\r" not in outcome.out  # no bar where there is no terminal


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
@pytest.mark.parametrize("write", [write_binary, write_python])
def test_cifar_layouts_train_and_evaluate(capsys, tmp_path, name, write):
    classes = {"cifar10": 10, "cifar100": 100}[name]
    data = tmp_path / "data"
    write(data, name, *random_images(200, classes), *random_images(100, classes, seed=1))
    outcome = minivit(capsys, "train", "--dataset", name, "--data-dir", data, "--out", tmp_path / "r", *TINY)
    assert outcome.code == 0, outcome.err
    assert f"100 test images of 32x32, {classes} classes" in outcome.out
    shutil.move(data, tmp_path / "moved")
    assert "does not exist" in refused(capsys, "eval", tmp_path / "r")
    outcome = minivit(capsys, "eval", tmp_path / "r", "--data-dir", tmp_path / "moved", "--json")
    score = json.loads(outcome.out)
    assert score == json.loads((tmp_path / "r/results.json").read_text())
    assert score["images"] == 100


def test_one_seed_gives_one_result_and_another_seed_another(capsys, tmp_path, pictures):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        folder_run(capsys, pictures, tmp_path / name, "--seed", seed, "--dropout", 0.1, "--drop-path", 0.1)
    assert same_numbers(tmp_path / "a", tmp_path / "b")
    assert not same_numbers(tmp_path / "a", tmp_path / "c")
    models = [(tmp_path / name / "checkpoints/model.safetensors").read_bytes() for name in "ab"]
    assert models[0] == models[1]


def test_what_changes_nothing_is_said(capsys, tmp_path, pictures):
    run = tmp_path / "r"
    first = folder_run(capsys, pictures, run, "--epochs", 1, "--graph", "auto", "--threads", 1000)
    assert "--graph auto changes nothing here" in first.out
    assert " in 1000 threads, by " in first.out
    again = minivit(capsys, "train", "--resume", run)
    assert again.code == 0
    assert "all epochs of this run are done: it is tested once more" in again.out
    (run / "results.json").unlink()
    assert "are done: what is left is its test" in minivit(capsys, "train", "--resume", run).out


@pytest.mark.parametrize(
    ("optimizer", "flag", "other"),
    [("adamw", "--momentum", "sgd"), ("sgd", "--beta1", "adamw"), ("sgd", "--adam-eps", "adamw")],
)
def test_a_flag_of_the_other_optimiser_is_said_to_change_nothing(capsys, tmp_path, pictures, optimizer, flag, other):
    words = ("--epochs", 1, "--optimizer", optimizer)
    said = folder_run(capsys, pictures, tmp_path / "r", *words, flag, 0.5).out
    assert f"{flag} is of --optimizer {other}: it changes nothing with {optimizer}" in said
    assert "changes nothing" not in folder_run(capsys, pictures, tmp_path / "q", *words, "--weight-decay", 0.1).out


def test_an_unknown_flag_is_compared_with_the_command_s_own(capsys):
    assert "(see minivit train --help)" in refused(capsys, "train", "--foo")
    assert "--top" not in refused(capsys, "train", "--foo")


def test_a_config_file_is_read_and_flags_win(capsys, tmp_path, pictures):
    path = tmp_path / "c.toml"
    path.write_text("[model]\nwidth = 8\nheads = 2\n[training]\nepochs = 9\nlearning_rate = 0.5\nflip = true\n")
    folder_run(capsys, pictures, tmp_path / "r", "--config", path, "--no-flip", "--learning-rate", "1e-4")
    config = tomllib.loads((tmp_path / "r/config.toml").read_text())
    assert config["model"]["width"] == 16
    assert config["training"]["epochs"] == 2
    assert config["training"]["learning_rate"] == 1e-4
    assert config["training"]["flip"] is False


def test_non_square_pictures_of_another_size_are_resized_and_that_is_said(capsys, tmp_path):
    folder = picture_folder(tmp_path / "p", size=(20, 30), test=False)
    outcome = folder_run(capsys, folder, tmp_path / "r", "--image-size", "16x24", "--patch-size", "8x4")
    assert "resized to 16x24" in outcome.out
    assert "held out" in outcome.out
    config = tomllib.loads((tmp_path / "r/config.toml").read_text())
    assert config["model"]["image_size"] == [16, 24]
    assert config["model"]["patch_size"] == [8, 4]


def test_no_argument_learns_shapes_and_says_so(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = np.arange(64)

    def load_few(*args):
        splits = real_load(*args)
        from minivit.data import take

        return splits._replace(train=take(splits.train, small), test=take(splits.test, small))

    from minivit.cli import train

    real_load = train.load
    monkeypatch.setattr(train, "load", load_few)
    for number in (1, 2):
        outcome = minivit(capsys, "train", "--epochs", 1)
        assert outcome.code == 0, outcome.err
        assert "built-in shapes" in outcome.out
        assert "next: " in outcome.out
        assert (tmp_path / f"runs/shapes-{number}/curves.png").exists()
        config = tomllib.loads((tmp_path / f"runs/shapes-{number}/config.toml").read_text())
        settings = config["model"] | config["training"]
        assert settings["epochs"] == 1  # asked for; the rest of the preset stays
        assert all(settings[name] == value for name, value in SHAPES_PRESET.items() if name != "epochs")


def test_a_variant_that_is_a_flag_wins_over_the_sizes_of_a_file(capsys, tmp_path, pictures):
    config = tmp_path / "c.toml"
    config.write_text("[model]\nwidth = 24\ndepth = 1\nheads = 2\nmlp_width = 48\npooling = 'mean'\nimage_size = 16\n")
    words = ["train", "--dataset", "folder", "--data-dir", pictures, "--epochs", 1, "--config", config]
    said = minivit(capsys, *words, "--variant", "micro/4", "--depth", 2, "--out", tmp_path / "r").out
    assert "2 blocks, width 96, 3 heads" in said
    model = tomllib.loads((tmp_path / "r/config.toml").read_text())["model"]
    assert (model["mlp_width"], model["patch_size"], model["pooling"]) == (384, [4, 4], "mean")
    assert model["image_size"] == [16, 16]


def test_a_model_without_end_is_refused_as_one_that_does_not_fit(capsys, tmp_path, monkeypatch, pictures):
    monkeypatch.chdir(tmp_path)
    line = refused(capsys, "train", "--dataset", "folder", "--data-dir", pictures, *TINY, "--width", 10**18)
    assert "the memory does not suffice" in line
    assert "choose a smaller model" in line


def test_a_directory_may_be_named_from_home(capsys, tmp_path, monkeypatch, pictures):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    words = ("train", "--dataset", "folder", "--data-dir", pictures, *TINY, "--epochs", 1, "--out=~/mine")
    assert minivit(capsys, *words).code == 0
    assert (tmp_path / "mine/results.json").exists()


def test_a_word_that_is_no_flag_is_near_to_none(capsys):
    assert "Did you mean" not in refused(capsys, "train", "--flip", "yes")


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_runs_that_lead_nowhere_are_told(capsys, tmp_path, monkeypatch, pictures):
    """A link to a disk that is not there; once it was tried for ever."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").symlink_to(tmp_path / "disk" / "runs")
    assert "runs cannot be made" in refused(capsys, "train", "--dataset", "folder", "--data-dir", pictures, *TINY)


def test_a_variant_of_the_shapes_has_its_own_sizes_and_the_usual_settings(capsys, tmp_path, monkeypatch):
    """The preset goes with the small model that it was chosen for."""
    few = shapes(20, 0)
    monkeypatch.setattr("minivit.cli.train.load", lambda *_: Splits(few, few, few, ()))
    trained = []
    monkeypatch.setattr("minivit.cli.train._train", lambda config, *_, **__: trained.append(config))
    (tmp_path / "c.toml").write_text('[model]\nvariant = "micro/4"\n')
    for number, words in enumerate((["--variant", "micro/4"], ["--config", tmp_path / "c.toml"])):
        assert minivit(capsys, "train", *words, "--seed", 3, "--out", tmp_path / str(number)).code == 0
        assert trained[-1].model == variant("micro/4")
        assert trained[-1].training == TrainSettings(seed=3)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--heads", 5], ["heads is 5", "width 64", "4 or 8", "65"]),
        (["--patch-size", 5], ["patch_size", "(32, 32)", "4 or 8"]),
        (["--widht", 8], ["--widht", "Did you mean '--width'?"]),
        (["--epochs", "many"], ["--epochs", "'many'", "an integer"]),
        (["--dataset", "cifar"], ["'cifar'", "'cifar10'"]),
        (["--variant", "Ti/15"], ["'Ti/15'", "Did you mean 'Ti/16'?"]),
        (["--config", "nowhere.toml"], ["nowhere.toml", "cannot be read"]),
        (["--dataset", "folder"], ["--data-dir"]),
        (["--dataset", "cifar10", "--data-dir", "nowhere"], ["nowhere", "does not exist"]),
        (["--learning-rate", "-1"], ["learning_rate", "-1"]),
        (["--classes", 7], ["classes is 7", "10"]),
        (["--resume", "nowhere"], ["nowhere", "is not there"]),
        (["extra"], ["extra"]),
    ],
)
def test_a_bad_argument_ends_in_one_line(capsys, tmp_path, monkeypatch, words, parts):
    monkeypatch.chdir(tmp_path)
    line = refused(capsys, "train", *words)
    assert all(part in line for part in parts), line
    assert not list(tmp_path.iterdir())


def test_a_used_directory_is_not_overwritten(capsys, tmp_path, pictures):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/thesis.txt").write_text("mine")
    words = ("train", "--dataset", "folder", "--data-dir", pictures, "--out", tmp_path / "run", *TINY)
    assert "not empty" in refused(capsys, *words)
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("damage", ["truncated", "label", "missing"])
def test_damaged_cifar_ends_in_one_line(capsys, tmp_path, damage):
    folder = write_binary(tmp_path, "cifar10", *random_images(50, 10), *random_images(10, 10))
    batch = folder / "data_batch_3.bin"
    content = bytearray(batch.read_bytes())
    if damage == "truncated":
        batch.write_bytes(content[:-100])
    elif damage == "label":
        content[0] = 77
        batch.write_bytes(content)
    else:
        batch.unlink()
    line = refused(capsys, "train", "--dataset", "cifar10", "--data-dir", tmp_path, "--out", tmp_path / "r")
    assert "data_batch_3.bin" in line
    assert not (tmp_path / "r").exists()


def test_a_diverging_run_says_what_to_change_and_keeps_its_last_checkpoint(capsys, tmp_path, pictures):
    words = ("--learning-rate", "1e30", "--clip", 0, "--epochs", 4, "--optimizer", "sgd")
    line = refused(
        capsys, "train", "--dataset", "folder", "--data-dir", pictures, "--out", tmp_path / "r", *TINY, *words
    )
    assert re.search(r"the (loss|gradient's norm) became (inf|nan) at epoch", line)
    assert "--learning-rate" in line


def test_cuda_without_cupy_says_what_to_install(capsys, tmp_path):
    from minivit.arrays import _why_no_gpu

    if _why_no_gpu() is None:
        pytest.skip("this machine has a GPU")
    line = refused(capsys, "train", "--device", "cuda", "--out", tmp_path / "r")
    assert "--device cpu" in line


def test_it_says_why_no_graph_is_recorded(monkeypatch):
    import dataclasses

    from helpers.tiny_run import tiny_run

    from minivit.cli.train import why_not_recorded

    monkeypatch.setitem(sys.modules, "nvmath.bindings.cublas", None)
    config, _ = tiny_run(graph="auto")
    assert 'pip install -e ".[cuda12]" or ".[cuda13]"' in why_not_recorded(config.training)
    for choice, said in (({"optimizer": "sgd"}, "only AdamW's are"), ({"ops": "reference"}, "wait for the host")):
        assert said in why_not_recorded(dataclasses.replace(config.training, **choice))
