"""Modules and kernels of the software GPU: PTX comes in, its instructions are run."""

from __future__ import annotations

import ctypes
import math
from typing import Any

from helpers.ptx.machine import Machine
from helpers.ptx.memory import KernelError, Threads
from helpers.ptx.program import Kernel, constants, kernels
from helpers.software_gpu import streams
from helpers.software_gpu.memory import Device, arena

OPT_IN, WITHOUT_ASKING = 232448, 48 * 1024  # bytes of shared memory that a block of an H100 can have

modules: dict[int, dict[str, Kernel]] = {}
functions: dict[int, Kernel] = {}
tables: dict[str, int] = {}  # where the numbers lie that kernels bring with them: the same in each module
_texts: dict[str, int] = {}
shared: dict[int, int] = {}  # what each function has asked for


def load(text: str) -> int:
    """A module of PTX, by its number."""
    if text not in _texts:
        number = _texts[text] = 0x1000 + len(modules)
        modules[number] = kernels(text)
        for name, data in constants(text).items():
            tables[name] = _put(data)
    return _texts[text]


def _put(data: bytes) -> int:
    address = arena.allocate(len(data))
    assert address is not None
    ctypes.memmove(address, data, len(data))
    return address


def function(module: int, name: str) -> int:
    """A kernel, by its number. Raises KeyError if the module has none of that name."""
    kernel = modules[module][name]
    for number, known in functions.items():
        if known is kernel:
            return number
    number = 0x100000 + len(functions)
    functions[number] = kernel
    return number


def dynamic_limit(number: int) -> int:
    """Bytes of shared memory that a block may have on top of what its kernel declares."""
    return shared.get(number, WITHOUT_ASKING - functions[number].shared_size)


def launch(
    number: int, grid: tuple[int, int, int], block: tuple[int, int, int], dynamic: int, stream: int | None, given: Any
) -> None:
    """Queue a kernel; `given` are the addresses of its arguments. Raises KernelError if a GPU would refuse it."""
    kernel = functions[number]
    if not 1 <= math.prod(block) <= kernel.most_threads or min(grid) < 1 or max(grid[1:]) > 65535:
        raise KernelError(f"{kernel.name}: a grid of {grid}, blocks of {block}")
    if dynamic > dynamic_limit(number):
        raise KernelError(f"{kernel.name}: {dynamic} bytes of shared memory, not asked for")
    assert block[1:] == (1, 1), block
    assert grid[2] == 1, grid
    # As they are now: the caller's memory is gone when the kernel runs.
    values = {name: ctypes.string_at(given[i], size) for i, (name, size) in enumerate(kernel.parameters)}
    streams.queue(stream, lambda: _run(kernel, grid[:2], block[0], dynamic, values))


def _run(kernel: Kernel, grid: tuple[int, int], block: int, dynamic: int, values: dict[str, bytes]) -> None:
    threads = Threads(math.prod(grid), block)
    machine = Machine(kernel, grid, block, Device(arena, threads), threads, dynamic, values, None)
    machine.symbols |= tables
    machine.run()
