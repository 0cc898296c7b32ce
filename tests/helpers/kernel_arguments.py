"""What a CUDA kernel takes, and whether it is given that: on a GPU, a wrong type is silent nonsense."""

from __future__ import annotations

from typing import Any

import numpy as np

from helpers.kernel_sources import Parameter, signatures
from minivit.ops.cuda.gather import PIECES
from minivit.ops.cuda.source import Build

_INTEGERS = {
    "int": np.dtype(np.int32),
    "big": np.dtype(np.int64),
    "long long": np.dtype(np.int64),
    "float": np.dtype(np.float32),
    "unsigned char": np.dtype(np.uint8),
}
_STRUCTS = {"Address": np.dtype(np.uint64), "Rates": None, "Pieces": PIECES}  # arrays of words, of reals; by value


def _dtype(parameter: Parameter, build: Build) -> np.dtype[Any]:
    """The array or scalar type that a parameter takes in this build."""
    storage = dict(build.macros)["STORAGE"]
    real = np.dtype(np.float64 if storage == 64 else np.float32)
    if parameter.type == "storage":
        if storage == 16:
            import ml_dtypes

            return np.dtype(ml_dtypes.bfloat16)
        return real
    if parameter.type in ("real", "Rates"):
        return real
    return _STRUCTS.get(parameter.type) or _INTEGERS[parameter.type]


def checked(build: Build, kernel: str, arguments: list[Any]) -> list[Any]:
    """The arguments: arrays and None where the kernel takes pointers, scalars (structures: arrays of no axes) else.

    Raises TypeError where one is not of the kernel's type, or their number is not the kernel's.
    """
    parameters = signatures(build.file)[kernel]
    if len(arguments) != len(parameters):
        raise TypeError(f"{kernel} takes {len(parameters)} arguments, got {len(arguments)}")
    for parameter, argument in zip(parameters, arguments, strict=True):
        dtype = _dtype(parameter, build)
        if parameter.pointer:
            if argument is None:
                continue
            if not isinstance(argument, np.ndarray) or argument.dtype != dtype or not argument.flags.c_contiguous:
                found = getattr(argument, "dtype", type(argument))
                raise TypeError(f"{kernel}: {parameter.name} needs a contiguous array of {dtype}, got {found}")
        else:
            # Structures travel as arrays of no axes, as CuPy takes them.
            scalar = isinstance(argument, np.generic) or (dtype.names and isinstance(argument, np.ndarray))
            if not scalar or argument.ndim or argument.dtype != dtype:
                raise TypeError(f"{kernel}: {parameter.name} needs a scalar of {dtype}, got {argument!r}")
    return arguments
