"""The command line as a whole: help, version, no command, and `python -m minivit`."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.command import minivit, refused

from minivit import __version__
from minivit.cli.main import Parser, _open_what_is_closed, main
from minivit.errors import MinivitError
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


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("trian", "COMMAND is 'trian'; expected one of 'train', 'eval', "),
        ("trian", "'doctor'. Did you mean 'train'? (see minivit --help)"),
        ("gradcheck --seed x", "--seed is 'x'; expected an integer (see minivit gradcheck --help)"),
        ("train --epochs", "--epochs is given no value; expected one after it"),
        ("train --no-flip=3", "--flip/--no-flip is given '3'; expected no value"),
        ("train --lr 3", "the argument --lr is not known. Did you mean '--learning-rate'?"),
        ("predict", "RUN, IMAGE must be given (see minivit predict --help)"),
    ],
)
def test_what_cannot_be_parsed_is_said_as_all_errors_are(capsys, words, said):
    assert said in refused(capsys, *words.split())


def test_what_python_3_15_guesses_is_left_out():
    guess = "argument COMMAND: invalid choice: 'trian', maybe you meant 'train'? (choose from 'train', 'eval')"
    with pytest.raises(MinivitError) as refusal:
        Parser(prog="minivit").error(guess)
    assert str(refusal.value) == (
        "COMMAND is 'trian'; expected one of 'train', 'eval'. Did you mean 'train'? (see minivit --help)"
    )


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_what_others_print_to_a_closed_stream_does_not_go_to_the_other(monkeypatch, name):
    monkeypatch.setattr(sys, name, None)
    _open_what_is_closed()
    with getattr(sys, name) as stream:
        assert stream.name == os.devnull


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


LAYER = '''
def größe(x):
    """x (B, D)"""
    return 2.0 * x, None

def größe_backward(dy, cache):
    return 2.0 * dy
'''


def ended(words, **how):
    done = subprocess.run(
        [sys.executable, "-m", "minivit", *words], stderr=subprocess.PIPE, text=True, check=False, **how
    )
    return done, done.stderr.strip().splitlines()


def test_an_output_that_is_full_is_one_line():
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    with open("/dev/full", "w") as full:
        done, lines = ended(["gradcheck", "softmax"], stdout=full)
    assert done.returncode == 2
    assert lines == ["minivit: the output cannot be written (No space left on device); send it somewhere else"]


def test_an_output_that_is_closed_is_no_error():
    command = f"{sys.executable} -m minivit gradcheck softmax >&-"
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("lost", ["2>&-", "2>/dev/full"])
def test_what_stderr_cannot_take_is_lost_and_changes_nothing_else(lost):
    if lost.endswith("full") and not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    command = f"{sys.executable} -m minivit eval nowhere {lost}"
    done = subprocess.run(["sh", "-c", command], stdout=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")


def test_letters_that_a_terminal_has_not_are_no_error(tmp_path):
    path = tmp_path / "layer.py"
    path.write_text(LAYER, encoding="utf-8")
    how = {"env": os.environ | {"PYTHONIOENCODING": "ascii"}, "stdout": subprocess.PIPE}
    done, lines = ended(["gradcheck", str(path)], **how)
    assert (done.returncode, lines) == (0, [])
    assert r"gr\xf6\xdfe" in done.stdout


def test_what_may_not_be_read_is_named(capsys, monkeypatch):
    def fail(options):
        raise PermissionError(13, "Permission denied", "runs/locked")

    monkeypatch.setattr("minivit.cli.eval.run", fail)
    said = "minivit: runs/locked cannot be read or written (Permission denied); check that you may"
    assert refused(capsys, "eval", "run") == said


def test_memory_that_does_not_suffice_is_one_line(capsys, tmp_path):
    path = tmp_path / "layer.py"
    path.write_text(LAYER, encoding="utf-8")
    said = refused(capsys, "gradcheck", path, "--shape", "x=10000000,10000000")
    assert said.startswith("minivit: the memory does not suffice: Unable to allocate")
    assert "choose a smaller model, batch, image or array" in said


def test_what_cublas_lacks_is_memory_too(capsys, monkeypatch):
    def fail(options):
        raise RuntimeError("CUBLAS_STATUS_ALLOC_FAILED")

    monkeypatch.setattr("minivit.cli.eval.run", fail)
    assert "the GPU's memory does not suffice: CUBLAS_STATUS_ALLOC_FAILED; free some" in refused(capsys, "eval", "run")


def test_an_error_of_the_system_that_is_nobody_s_file_is_not_hidden(monkeypatch):
    def fail(options):
        raise OSError(errno.ECHILD, "No child processes")

    monkeypatch.setattr("minivit.cli.eval.run", fail)
    with pytest.raises(OSError, match="No child processes"):
        main(["eval", "run"])
