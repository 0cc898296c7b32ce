"""The command line as a whole: help, version, no command, and `python -m minivit`."""

import subprocess
import sys

import pytest
from helpers.command import minivit, refused

from minivit import __version__
from minivit.training.config import field_types


def test_help_names_the_commands_and_gives_examples(capsys):
    outcome = minivit(capsys, "--help")
    assert outcome.code == 0
    for word in ("train", "eval", "predict", "examples/cifar10_cpu.toml"):
        assert word in outcome.out


def test_the_help_of_train_explains_every_field(capsys):
    text = minivit(capsys, "train", "--help").out
    for name in field_types():
        assert "--" + name.replace("_", "-") in text or f"--no-{name}" in text
    assert "default: 0.001" in text


def test_version(capsys):
    assert minivit(capsys, "--version").out.strip() == f"minivit {__version__}"


@pytest.mark.parametrize("words", [[], ["trane"], ["eval"], ["predict", "run"]])
def test_what_cannot_be_parsed_is_one_line(capsys, words):
    assert "--help" in refused(capsys, *words)


def test_a_reader_that_leaves_is_no_error():
    command = [sys.executable, "-m", "minivit", "gradcheck", "layer_norm"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode == 141


def test_a_gpu_without_room_is_one_line(capsys, monkeypatch):
    class OutOfMemoryError(MemoryError):
        """CuPy's."""

    def fail(options):
        raise OutOfMemoryError("Out of memory allocating 512 bytes (allocated so far: 0 bytes).")

    monkeypatch.setattr("minivit.cli.eval.run", fail)
    said = (
        "the GPU's memory does not suffice: Out of memory allocating 512 bytes (allocated so far: 0 bytes); free some"
    )
    assert said in refused(capsys, "eval", "run")


def test_runs_as_a_module_without_a_traceback(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "minivit", "eval", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""
