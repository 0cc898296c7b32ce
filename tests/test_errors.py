"""The exception meant for a person, and the hint it may end with."""

import errno
import sys

import pytest

import minivit
from minivit.errors import MinivitError, counted, first_line, is_out_of_memory, nearest, on_one_line, say


def test_it_is_the_value_error_that_a_program_catches():
    assert issubclass(MinivitError, ValueError)
    assert minivit.MinivitError is MinivitError
    assert str(MinivitError("one sentence")) == "one sentence"


@pytest.mark.parametrize(
    ("word", "hint"),
    [("micr/4", " Did you mean 'micro/4'?"), ("B/16", " Did you mean 'B/16'?"), ("resnet50", ""), ("", "")],
)
def test_nearest_names_a_near_word_or_nothing(word, hint):
    assert nearest(word, ["micro/4", "mini/4", "B/16"]) == hint


@pytest.mark.parametrize(
    ("flag", "hint"),
    [("--lr", "--learning-rate"), ("--epoch", "--epochs"), ("--ot", "--out"), ("--bogus", None)],
)
def test_the_nearest_flag_whatever_its_dashes(flag, hint):
    said = nearest(flag, ["--help", "-h", "--out", "--epochs", "--learning-rate"])
    assert said == (f" Did you mean {hint!r}?" if hint else "")
    assert nearest("lr", ["epochs", "learning_rate"]) == " Did you mean 'learning_rate'?"
    assert nearest("ct", ["cat-tree", "cat"]) == " Did you mean 'cat'?"


def test_nearest_takes_any_iterable():
    assert nearest("tanhh", (form for form in ("tanh", "erf"))) == " Did you mean 'tanh'?"
    assert nearest("tanh", []) == ""


class Full:
    """A stream of a program's own, which is no file."""

    def write(self, text):
        raise OSError(errno.ENOSPC, "No space left on device")

    def flush(self):
        pass


@pytest.mark.parametrize("stream", [None, Full()])
def test_what_no_stderr_takes_is_lost_and_goes_nowhere_else(monkeypatch, capsys, stream):
    monkeypatch.setattr(sys, "stderr", stream)
    say("lost")
    monkeypatch.undo()
    assert capsys.readouterr().out == ""


def test_a_name_is_one_line_that_no_terminal_obeys():
    assert on_one_line("dog\nrun\x1b[2J\x9b") == r"dog\nrun\x1b[2J\x9b"
    assert on_one_line("döner 日本\u3000'\\") == "döner 日本\u3000'\\"


def test_one_thing_or_more():
    assert [counted(n, "image") for n in (0, 1, 2)] == ["0 images", "1 image", "2 images"]


@pytest.mark.parametrize(
    ("said", "full"),
    [
        ("CUBLAS_STATUS_ALLOC_FAILED", True),
        ("CUDA_ERROR_OUT_OF_MEMORY: out of memory", True),
        ("cudaErrorMemoryAllocation: out of memory", True),
        ("CUBLAS_STATUS_NOT_SUPPORTED", False),
    ],
)
def test_what_says_that_a_gpu_s_memory_is_full(said, full):
    """CuPy's OutOfMemoryError is for arrays; cuBLAS, modules and graphs need memory of their own."""
    assert is_out_of_memory(RuntimeError(said)) == full


def test_the_first_line_of_an_error_that_says_nothing_is_its_name():
    assert first_line(ValueError("\nwrong\nand more")) == "wrong"
    assert first_line(ValueError("")) == "ValueError"
