"""A GPU in software: CuPy itself, on a machine that has no GPU.

CuPy calls NVIDIA's runtime, driver and cuBLAS; here Python answers (runtime.py, driver.py, cublas.py; see calls.py).
Its kernels, CuPy's own and minivit's, are compiled by NVIDIA's compiler to PTX, which `helpers.ptx` runs instruction by
instruction. Slow, and stricter than a GPU:

    streams     work waits in its queue until somebody waits for it, so that a forgotten wait shows
    memory      kernels and copies stay within what cudaMalloc gave; what nobody has written is NaN
    launches    more threads, blocks or shared memory (but for what a kernel declares) than a GPU has are refused
    graphs      the host waits for nothing while a stream is recorded; cuBLAS through CuPy refuses, as ever

What is not NVIDIA's own here: cuBLAS (NumPy multiplies; to TF32 numbers are rounded, which a GPU may cut off) and CUB,
which CuPy sums large arrays with; without it, CuPy uses kernels of its own. Run with `pytest -m gpu --software-gpu`, or
any module with `PYTHONPATH=tests python -m helpers.software_gpu minivit doctor`. host_time.py measures what is left of
a step when all of NVIDIA's functions answer at once.
"""

from __future__ import annotations

import contextlib
import gc
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from helpers.kept import kept

NEEDS = 'needs CuPy, gcc and Linux on x86-64: pip install -e ".[test,software-gpu]"'


def available() -> bool:
    return (platform.system(), platform.machine()) == ("Linux", "x86_64") and all(
        (shutil.which("gcc"), find_spec("cupy"), find_spec("nvidia"))
    )


def started() -> bool:
    return "helpers.software_gpu.runtime" in sys.modules


def last_fault() -> str:
    """What went wrong last in Python, where CuPy could only say that something had."""
    from helpers.software_gpu.calls import faults

    return str(faults[-1])


def waits() -> int:
    """How often the host has waited for the GPU, or read from it."""
    from helpers.software_gpu.streams import waits

    return waits["host"]


def page_locked() -> int:
    """Bytes of the host's memory that are page-locked."""
    from helpers.software_gpu.runtime_memory import pinned

    return sum(map(len, pinned.values()))


@contextlib.contextmanager
def leaves(size: int) -> Iterator[None]:
    """Inside, only so many bytes are left of the GPU's memory, and CuPy's pool has none that it could give again."""
    import cupy

    from helpers.software_gpu.memory import arena

    gc.collect()
    cupy.get_default_memory_pool().free_all_blocks()
    whole, arena.limit = arena.limit, arena.given + size
    try:
        with cupy.cuda.using_allocator(cupy.cuda.MemoryPool().malloc):
            yield
    finally:
        arena.limit = whole


def idle() -> bool:
    """Whether all that was queued is done."""
    from helpers.software_gpu.streams import streams

    return not any(stream.queue for stream in streams.values())


def start(works: bool = True) -> None:
    """From now on `import cupy` finds a GPU, of which nothing is done unless it `works`.

    Must come before the first import of CuPy.
    """
    if "cupy" in sys.modules:
        raise RuntimeError("the software GPU has to be started before CuPy is imported")
    os.environ |= {"CUPY_COMPILE_WITH_PTX": "1", "CUPY_ACCELERATORS": ""}
    os.environ["CUPY_CACHE_DIR"] = str(kept("software-gpu-kernels"))
    import cupy_backends.cuda.api.runtime as api
    import cupy_backends.cuda.libs as libs

    from helpers.software_gpu.calls import Functions, library, patch
    from helpers.software_gpu.cublas import cublas
    from helpers.software_gpu.driver import NAMES, driver
    from helpers.software_gpu.elf import symbols
    from helpers.software_gpu.runtime import runtime

    folder = Path(tempfile.mkdtemp(prefix="minivit-software-gpu-"))
    library(folder / "libcuda.so.1", NAMES, driver)
    library(folder / "libcublasLt.so.13", ["cublasLtGetVersion"], Functions())  # looked for, not called
    names = symbols(next(Path(libs.__path__[0]).glob("cublas*.so"))).needed
    library(folder / "libcublas.so.13", sorted({n for n in names if n.startswith("cublas")} | set(cublas)), cublas)
    patch(Path(api.__file__), "cuda", runtime, folder)
    shutil.rmtree(folder)  # what is loaded stays
    if works:
        _leave_nothing_unwritten()
    else:
        from helpers.software_gpu import streams

        streams.queue = lambda number, work: None


def _leave_nothing_unwritten() -> None:
    """Whatever CuPy's pool gives out is NaN until it is written, when it was used before, too."""
    import cupy

    from helpers.software_gpu.runtime_memory import fill

    class Unwritten(cupy.cuda.MemoryHook):
        name = "unwritten"

        def malloc_postprocess(self, *, mem_ptr: int, mem_size: int, **_: Any) -> None:
            if mem_ptr:  # 0: there was no memory left
                fill(mem_ptr, 0xFF, mem_size, cupy.cuda.get_current_stream().ptr)

    Unwritten().__enter__()
