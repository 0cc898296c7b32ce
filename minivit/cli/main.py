"""`minivit COMMAND ...`: finds the command, and turns a user's error into one line and exit code 2."""

from __future__ import annotations

import argparse
import errno
import io
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from minivit import __version__
from minivit.errors import MinivitError, first_line, is_out_of_memory, nearest, say
from minivit.memory import keep_freed_memory

DESCRIPTION = "A Vision Transformer written by hand: train it, evaluate it, use it, check its gradients."
EPILOG = """\
examples:
  minivit train                                        learn built-in shapes, a minute or two on two cores
  minivit train --config examples/cifar10_cpu.toml     learn CIFAR-10
  minivit eval runs/shapes-1                           accuracy on the test images
  minivit predict runs/shapes-1 photo.png              what is on a picture of your own
  minivit gradcheck                                    every gradient against a numeric one
  minivit gradcheck my_layers.py:my_layer              and one that you derived
  minivit bench --against torch                        how fast a training step is
  minivit doctor                                       what is installed, and what does not work
"""


# What writing to an output that is full, too long or gone ends in; no file is named then.
_OUTPUT_ERRORS = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO, errno.EBADF)


# NumPy's words for an array whose size has no number.
_TOO_LARGE = ("Maximum allowed dimension exceeded", "array is too big")


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one sentence, with the nearest flag for an unknown one."""

    def error(self, message: str) -> NoReturn:
        """Raise MinivitError for what argparse says is wrong."""
        raise MinivitError(f"{_reworded(message)} (see {self.prog} --help)")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's; what is not known is reported by the command that it was given to."""
        options, rest = self.parse_known_args(args, namespace)
        if rest:
            self._commands()[options.command].unknown(rest[0].split("=")[0])
        return options

    def unknown(self, word: str) -> NoReturn:
        """Raise MinivitError for an argument that this parser does not know."""
        flags = [flag for action in self._actions for flag in action.option_strings]
        self.error(f"the argument {word} is not known.{nearest(word, flags) if word.startswith('-') else ''}")

    def _commands(self) -> dict[str, Parser]:
        (action,) = (action for action in self._actions if isinstance(action, argparse._SubParsersAction))
        return dict(action.choices)


def _reworded(message: str) -> str:
    """What argparse says, in the words of all other errors: what it is, and what was expected."""
    if choice := re.fullmatch(
        r"argument (\S+): invalid choice: (['\"])(.*?)\2(?:, maybe .*)? \(choose from (.*)\)", message
    ):
        name, _, value, words = choice.groups()
        known = [word.strip("'") for word in words.split(", ")]
        return f"{name} is {value!r}; expected one of {', '.join(map(repr, known))}.{nearest(value, known)}"
    if number := re.fullmatch(r"argument (\S+): invalid (int|float) value: (.*)", message):
        return f"{number[1]} is {number[3]}; expected {'an integer' if number[2] == 'int' else 'a number'}"
    if missing := re.fullmatch(r"argument (\S+): expected one argument", message):
        return f"{missing[1]} is given no value; expected one after it"
    if needless := re.fullmatch(r"argument (\S+): ignored explicit argument (.*)", message):
        return f"{needless[1]} is given {needless[2]}; expected no value"
    if absent := re.fullmatch(r"the following arguments are required: (.*)", message):
        return f"{absent[1]} must be given"
    return message


def parser() -> Parser:
    """The parser of all commands."""
    # Imported here: `minivit --version` should not wait for the training code.
    from minivit.cli import bench as bench_command
    from minivit.cli import doctor as doctor_command
    from minivit.cli import eval as eval_command
    from minivit.cli import gradcheck as gradcheck_command
    from minivit.cli import predict as predict_command
    from minivit.cli import train as train_command

    top = Parser(
        prog="minivit",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"minivit {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True, title="commands")
    for command in (train_command, eval_command, predict_command, gradcheck_command, bench_command, doctor_command):
        command.add_to(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Errors that a user can mend are one line on stderr and a 2."""
    keep_freed_memory()
    _open_what_is_closed()
    _speak_any_language()
    try:
        options = parser().parse_args(arguments)
        code = options.run_command(options)
        sys.stdout.flush()
    except MinivitError as error:
        return _refused(str(error))
    except KeyboardInterrupt as stop:  # what can be done next may be said in it
        say("; ".join(["minivit: stopped", *map(str, stop.args)]))
        return 130
    except BrokenPipeError:  # the reader of a pipe, `| head` say, has left
        _let_go_of_stdout()
        return 141
    except OSError as error:
        if error.filename is None:
            if error.errno not in _OUTPUT_ERRORS:
                raise
            _let_go_of_stdout()
            return _refused(f"the output cannot be written ({error.strerror}); send it somewhere else")
        return _refused(f"{error.filename} cannot be read or written ({error.strerror}); check that you may")
    except MemoryError as error:  # CuPy's, too
        return _no_memory(error)
    except Exception as error:  # cuBLAS's and CUDA's own have no class in common
        if not is_out_of_memory(error) and not any(words in str(error) for words in _TOO_LARGE):
            raise
        return _no_memory(error)
    return int(code or 0)  # a command that has no other outcome than success returns None


def _open_what_is_closed() -> None:
    """What goes to a stdout or stderr that was closed from the start is lost; print() would put either in the other."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115


def _speak_any_language() -> None:
    """Write what a terminal has no letters for (names of classes and files) as \\x.. or \\u...., and no error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _no_memory(error: Exception) -> int:
    reason = first_line(error).rstrip(".")
    if is_out_of_memory(error):
        advice = "free some of it, or choose a smaller batch or --device cpu"
        return _refused(f"the GPU's memory does not suffice: {reason}; {advice}")
    return _refused(f"the memory does not suffice: {reason}; choose a smaller model, batch, image or array")


def _let_go_of_stdout() -> None:
    """What is still in its buffer cannot be written, and Python would try once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _refused(sentence: str) -> int:
    """Say in one line why the command was not carried out; the exit code for it."""
    say(f"minivit: {' '.join(sentence.split())}")
    return 2


if __name__ == "__main__":
    sys.exit(main())
