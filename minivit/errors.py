"""The one exception that is meant to be read by a person.

The command line prints its sentence on stderr and exits with status 2; a program catches it as the
ValueError it is. Everything else that escapes is a bug of minivit and keeps its traceback.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import sys
from collections.abc import Iterable


class MinivitError(ValueError):
    """One sentence: the thing, what it is, what was expected, and the likely mend."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the hint " Did you mean 'x'?" for the known word nearest to `word`, or "" if none is near.

    Initials are near, --lr to --learning-rate; the dashes before a flag are not compared.
    """
    bare, words = word.removeprefix("--"), {k.removeprefix("--"): k for k in known}
    close = difflib.get_close_matches(bare, words, n=1, cutoff=0.6)
    close = close or [k for k in words if bare == "".join(part[:1] for part in re.split("[-_]", k)) != k]
    return f" Did you mean {words[close[0]]!r}?" if close else ""


def say(sentence: str) -> None:
    """Write a line on stderr; one that cannot be written there, on a full disk say, is lost, and the work goes on."""
    if sys.stderr is None:  # print() would take stdout in its place
        return
    try:
        print(sentence, file=sys.stderr, flush=True)
    except OSError:  # its buffer still holds the line, and Python would try once more at its end
        with contextlib.suppress(AttributeError, OSError):  # what a program put in its place may be no file
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def on_one_line(name: str) -> str:
    r"""A file's or class's name with its control characters as \n, \t or \x.., in one line that no terminal obeys."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda found: repr(found[0])[1:-1], name)


def counted(count: int, thing: str) -> str:
    """ "1 image", "2 images"."""
    return f"{count} {thing}{'s' * (count != 1)}"


def require_kind(value: object, kind: type, what: str, mend: str) -> None:
    """Raise TypeError unless `value`, which is named `what`, is of that kind; `mend` says where to get one."""
    if not isinstance(value, kind):
        raise TypeError(f"{what} is of type {type(value).__name__}; expected {kind.__name__}, {mend}")


def first_line(error: BaseException) -> str:
    """The first line of what an error says; its type's name where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


_NO_MEMORY = ("CUBLAS_STATUS_ALLOC_FAILED", "cudaErrorMemoryAllocation", "CUDA_ERROR_OUT_OF_MEMORY", "ALLOC_FAILED (3)")


def is_out_of_memory(error: Exception) -> bool:
    """Whether a GPU's memory did not suffice: for arrays, or for what CUDA's libraries need beside them.

    The errors are CuPy's and nvmath-python's, which need not be installed.
    """
    return type(error).__name__ == "OutOfMemoryError" or any(word in str(error) for word in _NO_MEMORY)
