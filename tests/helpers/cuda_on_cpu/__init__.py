"""CUDA kernels on the CPU: a kernel file is compiled by g++ with `shim.h` and called through ctypes."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from helpers.kept import kept
from helpers.kernel_arguments import checked
from helpers.kernel_sources import signatures
from minivit.ops.cuda.source import KERNELS, Build, source, without_pragma

SHIM = Path(__file__).parent / "shim.h"
AVAILABLE = shutil.which("g++") is not None
NEEDS = "needs g++ to run CUDA kernels on the CPU"


@functools.cache
def _library(build: Build) -> ctypes.CDLL:
    """The build as a shared library with a function run_<kernel>(grid, block, arguments) for each kernel."""
    text = re.sub(r"#include <cuda_bf16.h>|extern __shared__.* memory\[\];", "", source(build.file))
    for path in SHIM.parent.glob("*.cuh"):  # instructions of a GPU, computed otherwise
        text = text.replace(without_pragma(KERNELS / path.name), without_pragma(path))
    lines = [f'#include "{SHIM}"', text]
    for name, parameters in signatures(build.file).items():
        given = ", ".join(
            f"({p.type}*)arguments[{i}]" if p.pointer else f"*({p.type}*)arguments[{i}]"
            for i, p in enumerate(parameters)
        )
        launch = "launch" if _waits(text, name) else "launch_alone"
        lines.append(
            f'extern "C" int run_{name}(const int* grid, const int* block, long shared, void** arguments) {{'
            f" cuda_on_cpu::poison(); cuda_on_cpu::{launch}(grid, block, [=] {{ {name}({given}); }});"
            " return cuda_on_cpu::kept_within(shared); }"
        )
    whole = "\n".join(lines)
    digest = hashlib.sha256((whole + SHIM.read_text() + str(build.options)).encode()).hexdigest()[:20]
    library = kept("cuda-on-cpu") / f"{build.file}-{digest}.so"
    if not library.exists():
        _compile(whole, build, library)
    return ctypes.CDLL(str(library))


def _compile(text: str, build: Build, library: Path) -> None:
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        code, made = Path(folder) / "kernel.cpp", Path(folder) / "kernel.so"
        code.write_text(text, encoding="utf-8")
        flags = ["-O1", "-ffp-contract=off", "-shared", "-fPIC", "-w", *build.options]
        done = subprocess.run(["g++", *flags, str(code), "-o", str(made)], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{build}: {done.stderr[:4000]}")
        made.replace(library)  # at once, whoever else compiles the same


def _waits(text: str, kernel: str) -> bool:
    """Whether a kernel's threads exchange anything: sums over a warp, shuffles, barriers."""
    body = text.partition(f"void {kernel}(")[2].partition('extern "C"')[0]
    return any(word in body for word in ("warp_", "__shfl", "__sync"))


def run(
    build: Build, kernel: str, grid: tuple[int, ...], block: tuple[int, ...], arguments: list[Any], shared: int = 0
) -> None:
    """Run a kernel on NumPy arrays (None: a null pointer) and NumPy scalars, as CuPy would launch it.

    Raises TypeError where an argument's type is not the kernel's: on a GPU that would be silent nonsense; and
    RuntimeError where the kernel writes beyond the `shared` bytes of memory that a block is given.
    """
    keep, pointers = [], (ctypes.c_void_p * len(arguments))()
    for i, argument in enumerate(checked(build, kernel, arguments)):
        if isinstance(argument, np.ndarray) and argument.ndim:
            pointers[i] = argument.ctypes.data
        elif argument is not None:
            keep.append(np.array(argument))
            pointers[i] = keep[-1].ctypes.data
    sizes = [(ctypes.c_int * 3)(*size, *(1,) * (3 - len(size))) for size in (grid, block)]
    if not getattr(_library(build), f"run_{kernel}")(*sizes, ctypes.c_long(shared), pointers):
        raise RuntimeError(f"{kernel} writes beyond the {shared} bytes of shared memory that it is given")
