"""The CUDA sources as text: what is compiled on a GPU machine, and checked on any other.

A kernel file is compiled for what is known when it is first used (a width, a storage type), given as macros:
loops over a row become straight code in registers.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

KERNELS = Path(__file__).parent / "kernels"
STORAGE = {"bfloat16": 16, "float32": 32, "float64": 64}  # the macro's value for each dtype of activations


class Build(NamedTuple):
    """One compilation of a kernel file; two equal ones are the same program."""

    file: str  # "layer_norm", of layer_norm.cu
    macros: tuple[tuple[str, int], ...]  # STORAGE, WIDTH, ...

    @property
    def options(self) -> tuple[str, ...]:
        """The macros as compiler options."""
        return ("--std=c++17", *(f"-D{name}={int(value)}" for name, value in self.macros))


@functools.cache
def name_of(dtype: Any) -> str:
    """A dtype's name: a step asks hundreds of times, and NumPy puts it together anew each time."""
    return str(dtype.name)


@functools.cache
def build(file: str, dtype: Any, **macros: int) -> Build:
    """The build of `file` for activations of `dtype`, or of its name. Raises ValueError for one that is not stored."""
    name = dtype if isinstance(dtype, str) else np.dtype(dtype).name
    if name not in STORAGE:
        raise ValueError(f"{file}.cu: no storage type for {name}; expected one of {', '.join(STORAGE)}")
    return Build(file, (("STORAGE", STORAGE[name]), *sorted(macros.items())))


@functools.cache
def source(file: str) -> str:
    """The text of `file`.cu with this package's own includes put in place."""
    return _inline((KERNELS / f"{file}.cu").read_text(encoding="utf-8"), set())


def _inline(text: str, seen: set[str]) -> str:
    def replace(match: re.Match[str]) -> str:
        name = match[1]
        if name in seen:
            return ""
        seen.add(name)
        return _inline(without_pragma(KERNELS / name), seen)

    return re.sub(r'^#include "([^"]+)"$', replace, text, flags=re.MULTILINE)


def without_pragma(path: Path) -> str:
    """The text of a header as it is put in place: it is put there once."""
    return path.read_text(encoding="utf-8").replace("#pragma once\n", "")
