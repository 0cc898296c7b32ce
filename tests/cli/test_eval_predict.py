"""`minivit eval` and `minivit predict` on a small trained run, and what they refuse."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.command import TINY, minivit, picture_folder, refused
from safetensors.numpy import load_file, save_file

from minivit.cli.main import main


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run that tells dark from light, and its pictures."""
    folder = tmp_path_factory.mktemp("trained")
    pictures = picture_folder(folder / "pictures", per_class=40)
    words = ["train", "--dataset", "folder", "--data-dir", pictures, "--out", folder / "run", *TINY, "--epochs", "8"]
    assert main([str(w) for w in [*words, "--learning-rate", "3e-3"]]) == 0
    return folder


def test_eval_repeats_what_training_reported(capsys, trained):
    score = json.loads(minivit(capsys, "eval", trained / "run", "--json").out)
    assert score == json.loads((trained / "run/results.json").read_text())
    assert score.keys() == {"test_accuracy", "test_loss", "images"}
    assert score["test_accuracy"] == 1.0
    assert "100.00%" in minivit(capsys, "eval", trained / "run").out


def test_eval_sees_images_of_the_size_that_training_saw(capsys, tmp_path):
    """Of pictures of 32x32, which were resized."""
    words = [
        "train",
        "--dataset",
        "folder",
        "--data-dir",
        picture_folder(tmp_path / "pictures"),
        "--out",
        tmp_path / "r",
    ]
    assert minivit(capsys, *words, *TINY, "--image-size", "16x24").code == 0
    score = json.loads(minivit(capsys, "eval", tmp_path / "r", "--json").out)
    assert score == json.loads((tmp_path / "r/results.json").read_text())


def test_predict_names_the_class_of_each_image(capsys, trained):
    paths = [trained / "pictures/test/light/0.png", trained / "pictures/test/dark/1.png"]
    outcome = minivit(capsys, "predict", trained / "run", *paths)
    assert outcome.code == 0
    assert outcome.err == ""
    lines = outcome.out.splitlines()
    assert lines[0] == str(paths[0])
    assert lines[1].endswith("light")
    assert lines[3] == str(paths[1])
    assert lines[4].endswith("dark")


def test_predict_as_json_has_probabilities_that_sum_to_one(capsys, trained):
    path = trained / "pictures/test/light/0.png"
    [result] = json.loads(minivit(capsys, "predict", trained / "run", path, "--json").out)
    assert result["image"] == str(path)
    assert result["resized"] is False
    assert sum(p["probability"] for p in result["predictions"]) == pytest.approx(1, abs=1e-6)
    [short] = json.loads(minivit(capsys, "predict", trained / "run", path, "--json", "--top", 1).out)
    assert short["predictions"] == result["predictions"][:1]


def test_another_size_is_resized_and_said_on_stderr(capsys, trained, tmp_path):
    from PIL import Image

    Image.fromarray(np.full((50, 90, 3), 210, np.uint8)).save(tmp_path / "big.png")
    outcome = minivit(capsys, "predict", trained / "run", tmp_path / "big.png")
    assert "big.png was resized to 32x32" in outcome.err
    assert outcome.out.splitlines()[1].endswith("light")


def test_a_name_with_a_newline_is_printed_in_one_line(capsys, trained, tmp_path):
    from PIL import Image

    run, image = tmp_path / "run", tmp_path / "two\nlines.png"
    shutil.copytree(trained / "run", run)
    (run / "config.toml").write_text((run / "config.toml").read_text().replace('"light"', '"li\\nght"'))
    Image.fromarray(np.full((50, 90, 3), 210, np.uint8)).save(image)
    outcome = minivit(capsys, "predict", run, image, "--top", 1)
    assert outcome.err.startswith(str(image).replace("\n", r"\n") + " was resized")
    assert [line.split()[-1] for line in outcome.out.splitlines()] == [str(image).replace("\n", r"\n"), r"li\nght"]


@pytest.mark.parametrize("lost", ["2>&-", "2>/dev/full"])
def test_a_note_that_stderr_cannot_take_is_lost_and_the_result_stands(trained, tmp_path, lost):
    from PIL import Image

    if lost.endswith("full") and not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    Image.fromarray(np.full((50, 90, 3), 210, np.uint8)).save(tmp_path / "big.png")
    command = f"{sys.executable} -m minivit predict {trained / 'run'} {tmp_path / 'big.png'} --json {lost}"
    done = subprocess.run(["sh", "-c", command], stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0
    assert json.loads(done.stdout)[0]["resized"]


@pytest.mark.parametrize("command", ["eval", "predict"])
def test_what_is_no_run_is_refused(capsys, tmp_path, command):
    more = ["x.png"] if command == "predict" else []
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    assert "is not there" in refused(capsys, command, tmp_path / "nowhere", *more)
    assert "is a file" in refused(capsys, command, tmp_path / "file", *more)
    assert "is not a run directory" in refused(capsys, command, tmp_path / "empty", *more)
    (tmp_path / "empty/config.toml").touch()
    assert "no epoch of it was finished" in refused(capsys, command, tmp_path / "empty", *more)


@pytest.mark.parametrize("name", ["config.toml", "checkpoints/model.safetensors"])
def test_a_damaged_run_is_refused(capsys, trained, tmp_path, name):
    run = shutil.copytree(trained / "run", tmp_path / "run")
    (run / name).write_bytes((run / name).read_bytes()[:50])
    assert name.split("/")[-1] in refused(capsys, "eval", run)


def test_unreadable_images_are_refused_before_anything_is_printed(capsys, trained, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG nothing")
    good = trained / "pictures/test/light/0.png"
    for bad in (tmp_path / "broken.png", tmp_path / "nowhere.png", tmp_path):
        assert str(bad) in refused(capsys, "predict", trained / "run", good, bad)
    assert "--top" in refused(capsys, "predict", trained / "run", good, "--top", 0)


def test_parameters_that_are_too_large_are_told(capsys, trained, tmp_path):
    """Their logits overflow: no accuracy, no probabilities, and no NaN in JSON."""
    run = tmp_path / "run"
    shutil.copytree(trained / "run", run)
    path = run / "checkpoints/model.safetensors"
    tensors = load_file(path)
    tensors["head.weight"][...] = 3e38
    save_file(tensors, path, {"epoch": "1"})
    image = next((trained / "pictures/test").rglob("*.png"))
    for words in (("eval", run, "--json"), ("predict", run, image, "--json")):
        assert "gives inf or nan: its parameters are too large" in refused(capsys, *words)


def test_eval_on_other_classes_is_refused(capsys, trained, tmp_path):
    other = picture_folder(tmp_path / "o")
    for split in ("train", "test"):
        (other / split / "dark").rename(other / split / "night")
    assert "the data 2, first 'light'" in refused(capsys, "eval", trained / "run", "--data-dir", other)


def test_a_test_that_was_held_out_is_of_the_same_images_or_refused(capsys, tmp_path):
    """With one picture more, other ones would be held out, which the model has learned."""
    pictures, run = picture_folder(tmp_path / "pictures", test=False), tmp_path / "run"
    minivit(capsys, "train", "--dataset", "folder", "--data-dir", pictures, "--out", run, *TINY, "--epochs", "1")
    assert f"{pictures} has no folder test: " in minivit(capsys, "eval", run).out.splitlines()[-2]
    one = pictures / "train/dark/0.png"
    shutil.copy(one, one.with_name("00.png"))
    sentence = refused(capsys, "eval", run)
    assert f"the training images are not those that {run} began with" in sentence
    assert "which were held out cannot be told: take the same images" in sentence
    shutil.copytree(pictures / "train", pictures / "test")
    assert minivit(capsys, "eval", run).code == 0
