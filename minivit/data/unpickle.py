"""Reading a pickle without running it: lists, dicts, numbers, strings and NumPy arrays of integers.

An unpickler calls whatever the file names, so a pickle from elsewhere can do anything. Here the few
names that CIFAR's files need stand for harmless objects of this module, and every other name is
refused. Not even NumPy's own functions are called until the contents have been checked.
"""

from __future__ import annotations

import io
import math
import pickle
import re
from typing import Any

import numpy as np

from minivit.arrays import Array
from minivit.errors import MinivitError


def unpickle(blob: bytes, where: str) -> dict[str, Any]:
    """Return the dict that the pickle `blob` holds, its keys as str; `where` names it in errors.

    Values are what the pickle holds, save that text written by Python 2 is bytes and a value that is an
    array is a read-only NumPy array of integers. Raises MinivitError for anything else, or a damaged pickle.
    """
    try:
        content = _Unpickler(io.BytesIO(blob), encoding="bytes").load()
        if not isinstance(content, dict):
            raise pickle.UnpicklingError(f"holds a {type(content).__name__} instead of a dict")
        return {
            text(key): value.array() if isinstance(value, _PickledArray) else value for key, value in content.items()
        }
    except Exception as error:  # pickle's documentation: any exception may come out of a damaged file
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise MinivitError(
            f"{where} is not a batch file that can be read ({reason}): expected a pickled dict of lists"
            " and integer arrays, so the file is damaged or not the official one; download it again"
        ) from error


def text(value: Any) -> str:
    """Return a str or, as Python 2 wrote it, bytes as str; raises TypeError for anything else."""
    if isinstance(value, bytes):
        return value.decode("latin1")
    if isinstance(value, str):
        return value
    raise TypeError(f"expected text, got {type(value).__name__}")


class _PickledType:
    """Stands for numpy.dtype, called with a name such as "u1"."""

    def __init__(self, name: Any, *copy_flags: Any) -> None:
        self.name = text(name)
        self.order = "|"

    def __setstate__(self, state: Any) -> None:
        self.order = text(state[1])

    def dtype(self) -> np.dtype[Any]:
        if not re.fullmatch("[iu][1248]", self.name) or self.order not in {"<", ">", "=", "|"}:
            raise TypeError(f"array of type {self.order + self.name!r}, not of integers")
        return np.dtype(self.order + self.name)


class _PickledArray:
    """Stands for a numpy.ndarray under construction: the pickle fills in the state."""

    state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def array(self) -> Array:
        _, shape, kind, column_major, raw = self.state
        dtype = kind.dtype()
        # np.frombuffer copies nothing, so no shape, however large, makes this allocate.
        if not all(type(n) is int and n >= 0 for n in shape) or len(raw) != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"array of shape {shape} and type {dtype} with {len(raw)} bytes")
        return np.frombuffer(raw, dtype).reshape(shape, order="F" if column_major else "C")


def _reconstruct(kind: Any, shape: Any, code: Any) -> _PickledArray:
    """Stands for NumPy's function of that name, which begins an array."""
    return _PickledArray()


def _encode(value: str, encoding: str) -> bytes:
    """Stands for _codecs.encode, by which Python 3 writes bytes for Python 2."""
    if encoding != "latin1":
        raise ValueError(f"bytes written in the encoding {encoding!r}")
    return value.encode("latin1")


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): None,  # only ever an argument of _reconstruct
    ("numpy", "dtype"): _PickledType,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle._Unpickler):
    """Python's own: the one in C makes a table as long as the largest number that the file gives to a part of it."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {f'{module}.{name}'[:80]!r}, which no batch file needs")
        return _ALLOWED[module, name]
