"""What the CUDA sources say of themselves: the kernels of each file, and their parameters."""

from __future__ import annotations

import re
from typing import NamedTuple

from minivit.ops.cuda.source import KERNELS, source


class Parameter(NamedTuple):
    """One parameter of a kernel."""

    type: str  # "storage", "real", "int", "big", ...
    pointer: bool
    name: str


_KERNEL = re.compile(r'extern "C" __global__ (?:__launch_bounds__\([^)]*\) )?void (\w+)\(([^)]*)\)')


def signatures(file: str) -> dict[str, tuple[Parameter, ...]]:
    """The kernels of `file`.cu and their parameters."""
    return {
        name: tuple(_parameter(text) for text in parameters.split(","))
        for name, parameters in _KERNEL.findall(source(file))
    }


def _parameter(text: str) -> Parameter:
    words = text.replace("*", " * ").split()
    return Parameter(" ".join(w for w in words[:-1] if w not in ("const", "*")), "*" in words, words[-1])


def kernel_files() -> list[str]:
    """Every kernel file's name."""
    return sorted(path.stem for path in KERNELS.glob("*.cu"))
