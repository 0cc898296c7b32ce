"""A step as one CUDA graph: its hundreds of launches are recorded once, and launched together from then on.

What differs from step to step has to lie in arrays that stay where they are. cuBLAS through CuPy refuses to be
recorded; through NVIDIA's nvmath-python it does not.
"""

from __future__ import annotations

import contextlib
import importlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from minivit.errors import first_line, is_out_of_memory
from minivit.ops.cuda.products import Gemm, products_by


def why_no_graph() -> str | None:
    """None if a step can be recorded here, else the reason and its mend."""
    try:
        cublas = importlib.import_module("nvmath.bindings.cublas")
        cublas.destroy(cublas.create())  # only now is the library itself looked for
    except Exception as error:  # nvmath raises errors of its own where cuBLAS is missing
        if is_out_of_memory(error):
            return f"the GPU's memory does not suffice ({first_line(error)}); free some of it"
        return f'nvmath-python cannot be used ({first_line(error)}); pip install -e ".[cuda12]" or ".[cuda13]"'
    return None


def nvmath_gemm(xp: Any, stream: Any) -> Gemm:
    """cuBLAS on `stream`, with memory of its own, so that nothing is allocated while a graph is recorded."""
    cublas = importlib.import_module("nvmath.bindings.cublas")
    handle = cublas.create()
    cublas.set_stream(handle, stream.ptr)
    workspace = xp.empty(_workspace_bytes(int(xp.cuda.Device().compute_capability)), dtype=xp.uint8)
    cublas.set_workspace(handle, workspace.data.ptr, workspace.nbytes)

    return Gemm(cublas.gemm_ex, cublas.gemm_strided_batched_ex, handle, workspace, cublas.destroy)


def _workspace_bytes(capability: int) -> int:
    """What cuBLAS may compute in: as much as NVIDIA advises, so that it multiplies as it does when not recorded.

    Source: NVIDIA, cuBLAS, "cublasSetWorkspace": 32 MiB for Hopper, 4 MiB for older ones.
    """
    return (32 if capability >= 90 else 4) * 2**20


class GraphMemory:
    """Memory that only recorded work uses: one after another, several graphs can share it.

    When a GPU's memory is full, CuPy's pool gives back what seems unused, where a graph still writes. That is
    counted: a graph that was recorded before it is recorded anew.
    """

    def __init__(self, xp: Any) -> None:
        self.xp, self.full = xp, 0
        self.pool = xp.cuda.MemoryPool(self._allocate)

    def _allocate(self, size: int) -> Any:
        try:
            return self.xp.cuda.MemoryPointer(self.xp.cuda.Memory(size), 0)
        except Exception:
            self.full += 1
            raise


class Graph:
    """Some work that is always the same, run once as it is, then recorded, then launched."""

    def __init__(self, xp: Any, stream: Any, gemm: Gemm, memory: GraphMemory) -> None:
        self.xp, self.stream, self.gemm, self.memory = xp, stream, gemm, memory
        self.runs, self.graph, self.full = 0, None, 0

    def run(self, work: Callable[[], None]) -> None:
        """Do `work`. The first time it compiles kernels and fills the pool, the second it is recorded."""
        with self._place():
            if self.graph is not None and self.full != self.memory.full:
                self.graph, self.runs = None, 0
            if self.runs == 1:
                self.full = self.memory.full
                self.graph = self._record(work)
                if self.graph is not None and self.full != self.memory.full:
                    # What was recorded first may lie in memory that was given back since.
                    self.graph, self.runs = None, 0
            if self.graph is None:
                work()
            else:
                self.graph.launch(self.stream)
        self.runs += 1

    def _record(self, work: Callable[[], None]) -> Any:
        """The graph of `work`, of which nothing is done yet; None, with a warning, where it cannot be recorded."""
        self.stream.begin_capture()
        try:
            work()
            return self.stream.end_capture()
        except BaseException as error:
            with contextlib.suppress(Exception):  # what failed may have ended the capture, too
                self.stream.end_capture()
            if not isinstance(error, Exception):
                raise
            warnings.warn(
                f"a step cannot be recorded as a CUDA graph here ({first_line(error)}); it goes on without",
                stacklevel=2,
            )
            return None

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        with self.stream, self.xp.cuda.using_allocator(self.memory.pool.malloc), products_by(self.gemm):
            yield
