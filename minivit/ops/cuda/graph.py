"""A step as one CUDA graph: its hundreds of launches are recorded once, and launched together from then on.

What differs from step to step has to lie in arrays that stay where they are. cuBLAS through CuPy refuses to be
recorded; through NVIDIA's nvmath-python it does not.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
from typing import Any

from minivit.ops.cuda.products import Gemm, products_by

_WORKSPACE = 32 * 2**20  # bytes that cuBLAS may use: what NVIDIA advises for Hopper


def why_no_graph() -> str | None:
    """None if a step can be recorded here, else the reason and its mend."""
    try:
        importlib.import_module("nvmath.bindings.cublas")
    except Exception as error:  # nvmath raises errors of its own where cuBLAS is missing
        return (
            f"nvmath-python cannot be used ({str(error).splitlines()[0]}); install minivit[cuda12] or minivit[cuda13]"
        )
    return None


def nvmath_gemm(xp: Any, stream: Any) -> Gemm:
    """cuBLAS on `stream`, with memory of its own, so that nothing is allocated while a graph is recorded."""
    cublas = importlib.import_module("nvmath.bindings.cublas")
    handle = cublas.create()
    cublas.set_stream(handle, stream.ptr)
    workspace = xp.empty(_WORKSPACE, dtype=xp.uint8)
    cublas.set_workspace(handle, workspace.data.ptr, workspace.nbytes)

    def bound(function: Any) -> Callable[..., None]:
        return lambda *arguments, keep=workspace: function(handle, *arguments)

    return Gemm(bound(cublas.gemm_ex), bound(cublas.gemm_strided_batched_ex))


class Graph:
    """Some work that is always the same, run once as it is, then recorded, then launched."""

    def __init__(self, xp: Any, stream: Any, gemm: Gemm) -> None:
        self.xp, self.stream, self.gemm = xp, stream, gemm
        # Memory of its own: what the recorded launches write to is given to nobody else.
        self.pool = xp.cuda.MemoryPool()
        self.runs, self.graph = 0, None

    def run(self, work: Callable[[], None]) -> None:
        """Do `work`. The first time it compiles kernels and fills the pool, the second it is recorded."""
        with self._place():
            if self.runs == 1:
                self.stream.begin_capture()
                try:
                    work()
                finally:
                    self.graph = self.stream.end_capture()
            if self.graph is None:
                work()
            else:
                self.graph.launch(self.stream)
        self.runs += 1

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        with self.stream, self.xp.cuda.using_allocator(self.pool.malloc), products_by(self.gemm):
            yield
