"""CUDA kernels on the CPU, as NVIDIA's compiler has made them: their PTX, run instruction by instruction.

Slower than `helpers.cuda_on_cpu`, which compiles the source for the CPU, and closer to a GPU: it takes the inline
assembler as it is, and faults where a GPU would crash or give numbers that nobody can foresee.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from helpers.kernel_arguments import checked
from helpers.nvrtc import Nvrtc, folder
from helpers.ptx.machine import Machine
from helpers.ptx.memory import Global, KernelError, Threads
from helpers.ptx.program import Kernel, kernels
from helpers.ptx.traffic import Traffic
from minivit.ops.cuda.gather import PIECES
from minivit.ops.cuda.source import Build, source

AVAILABLE = folder() is not None
NEEDS = "needs NVIDIA's run-time compiler: pip install nvidia-cuda-nvrtc nvidia-cuda-runtime"


@functools.cache
def compiled(text: str, options: tuple[str, ...] = ()) -> dict[str, Kernel]:
    """The kernels of a CUDA source."""
    root = folder()
    assert root is not None
    return kernels(Nvrtc(root).ptx(text, options, "compute_90"))


def run(
    build: Build,
    kernel: str,
    grid: tuple[int, ...],
    block: tuple[int, ...],
    arguments: list[Any],
    shared: int = 0,
    traffic: Traffic | None = None,
) -> None:
    """Run a kernel on NumPy arrays (None: a null pointer) and NumPy scalars, as CuPy would launch it.

    What it asks of memory is added to `traffic`. Raises TypeError where an argument's type is not the kernel's, and
    KernelError as `launch`.
    """
    program = compiled(source(build.file), build.options)[kernel]
    launch(program, grid, block[0], checked(build, kernel, arguments), shared, traffic)


def launch(
    kernel: Kernel,
    grid: tuple[int, ...],
    block: int,
    arguments: list[Any],
    shared: int = 0,
    traffic: Traffic | None = None,
) -> None:
    """Run a kernel with `shared` bytes of memory for each block.

    Raises KernelError (a RuntimeError) where the kernel does what is not defined: an access out of bounds,
    misaligned, of nothing, or in no order with another thread's; or where a GPU would not start it.
    """
    if block > kernel.most_threads:
        raise KernelError(f"{kernel.name}: blocks of {block} threads, compiled for {kernel.most_threads}")
    threads = Threads(int(np.prod(grid)), block)
    memory = Global(_reached(arguments), threads)
    values = [_bytes(x) for x in arguments]
    assert [len(v) for v in values] == [size for _, size in kernel.parameters], kernel.parameters
    parameters = {name: v for (name, _), v in zip(kernel.parameters, values, strict=True)}
    Machine(kernel, grid, block, memory, threads, shared, parameters, traffic).run()
    memory.give_back()


def _reached(arguments: list[Any]) -> list[np.ndarray]:
    """The arrays that a kernel reaches through its arguments."""
    arrays = [x for x in arguments if isinstance(x, np.ndarray) and x.dtype.names is None and x.size]
    for pieces in arguments:
        if getattr(pieces, "dtype", None) == PIECES:  # addresses of arrays, of the type of the one they are put into
            number = np.ctypeslib.as_ctypes_type(arrays[0].dtype)
            found = [(int(at), int(n)) for at, n in zip(pieces["from"], pieces["size"], strict=True) if n]
            arrays += [np.ctypeslib.as_array((number * n).from_address(at)) for at, n in found]
    return arrays


def _bytes(argument: Any) -> bytes:
    if argument is None:
        return bytes(8)
    if isinstance(argument, np.generic) or argument.dtype.names:
        return argument.tobytes()
    return int(argument.ctypes.data).to_bytes(8, "little")
