"""CUDA kernels on the CPU: a kernel file is compiled by g++ with `shim.h` and called through ctypes."""

from __future__ import annotations

import ctypes
import functools
import getpass
import hashlib
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from minivit.ops.cuda.gather import PIECES
from minivit.ops.cuda.source import KERNELS, Build, Parameter, signatures, source, without_pragma

SHIM = Path(__file__).parent / "shim.h"
AVAILABLE = shutil.which("g++") is not None
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
    # Kept for the other test processes, and for the next run: compiling takes longer than most tests.
    kept = Path(tempfile.gettempdir()) / f"minivit-cuda-on-cpu-{getpass.getuser()}"
    kept.mkdir(mode=0o700, exist_ok=True)
    library = kept / f"{build.file}-{digest}.so"
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
    return any(word in body for word in ("warp_sum", "warp_max", "__shfl", "__sync"))


def run(
    build: Build, kernel: str, grid: tuple[int, ...], block: tuple[int, ...], arguments: list[Any], shared: int = 0
) -> None:
    """Run a kernel on NumPy arrays (None: a null pointer) and NumPy scalars, as CuPy would launch it.

    Raises TypeError where an argument's type is not the kernel's: on a GPU that would be silent nonsense; and
    RuntimeError where the kernel writes beyond the `shared` bytes of memory that a block is given.
    """
    parameters = signatures(build.file)[kernel]
    if len(arguments) != len(parameters):
        raise TypeError(f"{kernel} takes {len(parameters)} arguments, got {len(arguments)}")
    keep, pointers = [], (ctypes.c_void_p * len(arguments))()
    for i, (parameter, argument) in enumerate(zip(parameters, arguments, strict=True)):
        dtype = _dtype(parameter, build)
        if parameter.pointer:
            if argument is None:
                continue
            if not isinstance(argument, np.ndarray) or argument.dtype != dtype or not argument.flags.c_contiguous:
                found = getattr(argument, "dtype", type(argument))
                raise TypeError(f"{kernel}: {parameter.name} needs a contiguous array of {dtype}, got {found}")
            pointers[i] = argument.ctypes.data
        else:
            # Structures travel as arrays of no axes, as CuPy takes them.
            scalar = isinstance(argument, np.generic) or (dtype.names and isinstance(argument, np.ndarray))
            if not scalar or argument.ndim or argument.dtype != dtype:
                raise TypeError(f"{kernel}: {parameter.name} needs a scalar of {dtype}, got {argument!r}")
            keep.append(np.array(argument))
            pointers[i] = keep[-1].ctypes.data
    sizes = [(ctypes.c_int * 3)(*size, *(1,) * (3 - len(size))) for size in (grid, block)]
    if not getattr(_library(build), f"run_{kernel}")(*sizes, ctypes.c_long(shared), pointers):
        raise RuntimeError(f"{kernel} writes beyond the {shared} bytes of shared memory that it is given")
