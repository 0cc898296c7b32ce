"""`minivit train --resume`: a stopped run ends as it would have, and refuses what would change that."""

import json
from typing import Literal, get_args, get_origin

import pytest
from helpers.command import TINY, folder_run, minivit, picture_folder, refused, same_numbers, stop_in_epoch

from minivit.training import loop
from minivit.training.checkpoint import Checkpoints
from minivit.training.config import field_types
from minivit.training.run_directory import read_metrics


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(capsys, tmp_path, pictures, monkeypatch, optimizer):
    more = ("--epochs", 3, "--dropout", 0.2, "--optimizer", optimizer, "--accumulate", 2)
    folder_run(capsys, pictures, tmp_path / "whole", *more)
    stop_in_epoch(monkeypatch, 3)
    words = ("train", "--dataset", "folder", "--data-dir", pictures, "--out", tmp_path / "cut", *TINY, *more)
    stopped = minivit(capsys, *words)
    assert stopped.code == 130
    assert stopped.err == f"minivit: stopped; go on with minivit train --resume {tmp_path / 'cut'}\n"
    monkeypatch.undo()
    resumed = minivit(capsys, "train", "--resume", tmp_path / "cut")
    assert (resumed.code, resumed.err) == (0, "")
    assert same_numbers(tmp_path / "whole", tmp_path / "cut")
    for name in ("checkpoints/model.safetensors", "results.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()


def test_a_run_that_is_stopped_at_once_cannot_go_on(capsys, tmp_path, pictures, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "_epoch", stopped)
    words = ("train", "--dataset", "folder", "--data-dir", pictures, "--out", tmp_path / "cut", *TINY)
    assert minivit(capsys, *words).err == "minivit: stopped; no epoch was finished\n"


def test_epochs_are_done_when_the_model_is_written(capsys, tmp_path, pictures, monkeypatch):
    """The table of metrics is a file before; a run may end between the two."""
    folder_run(capsys, pictures, tmp_path / "whole")

    def killed(self, state, epoch):
        if epoch == 2:
            raise KeyboardInterrupt
        save(self, state, epoch)

    save = Checkpoints.save
    monkeypatch.setattr(Checkpoints, "save", killed)
    words = ("train", "--dataset", "folder", "--data-dir", pictures, "--out", tmp_path / "cut", *TINY)
    assert minivit(capsys, *words).code == 130
    assert len(read_metrics(tmp_path / "cut")) == 2
    monkeypatch.undo()
    resumed = minivit(capsys, "train", "--resume", tmp_path / "cut")
    assert (resumed.code, resumed.err) == (0, ""), "the row of an epoch without a checkpoint is written anew"
    assert "are done" not in resumed.out
    assert same_numbers(tmp_path / "whole", tmp_path / "cut")
    assert (tmp_path / "whole/results.json").read_bytes() == (tmp_path / "cut/results.json").read_bytes()


def test_curves_that_a_stop_left_undrawn_are_drawn(capsys, tmp_path, pictures):
    folder_run(capsys, pictures, tmp_path / "r")
    (tmp_path / "r" / "curves.png").unlink()
    assert minivit(capsys, "train", "--resume", tmp_path / "r").code == 0
    assert (tmp_path / "r" / "curves.png").stat().st_size > 1000


def test_a_precision_that_the_device_has_not_is_refused_when_resuming_too(capsys, tmp_path, pictures):
    folder_run(capsys, pictures, tmp_path / "r")
    path = tmp_path / "r" / "config.toml"
    path.write_text(path.read_text().replace('precision = "auto"', 'precision = "bfloat16"'))
    line = refused(capsys, "train", "--resume", tmp_path / "r", "--device", "cpu")
    assert "precision 'bfloat16' needs an NVIDIA GPU" in line


def test_other_functions_after_a_stop_are_told(capsys, tmp_path, pictures):
    folder_run(capsys, pictures, tmp_path / "r", "--epochs", 1)
    path = tmp_path / "r" / "environment.json"
    found = json.loads(path.read_text())
    assert found["ops"].startswith("minivit.ops.")
    path.write_text(json.dumps(found | {"ops": "minivit.ops.other"}))
    said = minivit(capsys, "train", "--resume", tmp_path / "r").err
    assert said.startswith("note: the run began with minivit.ops.other, and goes on with minivit.ops.")


def test_nothing_else_of_a_run_can_be_changed(capsys, tmp_path):
    """A flag that is read and then ignored would be worse than one that is refused."""
    some = {int: 1, float: 0.5, str: "x"}
    for name, kind in field_types().items():
        flag = f"--{name.replace('_', '-')}"
        value = [] if kind is bool else [get_args(kind)[0] if get_origin(kind) is Literal else some.get(kind, 8)]
        said = refused(capsys, "train", "--resume", tmp_path, flag, *value)
        allowed = name in ("data_dir", "device", "threads")
        assert (f"{flag} cannot be changed with --resume" in said) is not allowed, said
    for flag in ("--out", "--config"):
        assert f"{flag} cannot be changed with" in refused(capsys, "train", "--resume", tmp_path, flag, tmp_path)


def test_resume_keeps_the_runs_configuration(capsys, tmp_path, pictures):
    folder_run(capsys, pictures, tmp_path / "r")
    assert "--epochs cannot be changed" in refused(capsys, "train", "--resume", tmp_path / "r", "--epochs", 5)
    more_pictures = picture_folder(tmp_path / "more", per_class=30)
    line = refused(capsys, "train", "--resume", tmp_path / "r", "--data-dir", more_pictures)
    assert "resume it on the images that it began with" in line
    other = picture_folder(tmp_path / "other")
    (other / "train/dark").rename(other / "train/night")
    (other / "test/dark").rename(other / "test/night")
    line = refused(capsys, "train", "--resume", tmp_path / "r", "--data-dir", other)
    assert "'dark'" in line
    assert "'light'" in line
