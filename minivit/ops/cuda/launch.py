"""Launching kernels: the compiled function of a build, grids that fill a GPU, sums in a fixed order."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from minivit.arrays import Array, array_module
from minivit.ops.cuda.source import STORAGE, Build, build, source

WARP = 32
THREADS = 128  # of a block
_ROW_BLOCKS = 264  # blocks down a matrix: two for each multiprocessor of an H100 or H200
_SHARED = 48 * 1024  # bytes of shared memory that every GPU gives a block without asking


def launch(
    program: Build, kernel: str, grid: tuple[int, ...], threads: int, arguments: list[Any], shared: int = 0
) -> None:
    """Queue a kernel on the current stream; `arguments` are arrays, None for a null pointer, and NumPy scalars."""
    xp = array_module(next(a for a in arguments if a is not None))
    function = _function(program, kernel, xp.cuda.Device().id)
    function(grid, (threads,), tuple(arguments), shared_mem=shared)


@functools.cache
def _function(program: Build, kernel: str, device: int) -> Any:
    return _module(program, device).get_function(kernel)


@functools.cache
def _module(program: Build, device: int) -> Any:
    """The compiled file; CuPy keeps the machine code on disk, so a second start compiles nothing."""
    import cupy

    return cupy.RawModule(code=source(program.file), options=program.options)


def stored(*arrays: Any) -> bool:
    """Whether the kernels take these arrays: CuPy's, of one storage type, contiguous, and not empty."""
    first = arrays[0].dtype
    return (
        first.name in STORAGE
        and all(a.dtype == first and a.size and a.flags.c_contiguous for a in arrays)
        and array_module(arrays[0]).__name__ == "cupy"
    )


def real_dtype(x: Array) -> Any:
    """What is computed in, and what gradients of parameters are: float32, or float64 for float64."""
    return np.float64 if x.dtype == np.float64 else np.float32


def warps_grid(rows: int) -> tuple[int]:
    """Blocks for a kernel that gives each row a warp."""
    return (-(-rows // (THREADS // WARP)),)


class Columns:
    """How columns.cu goes over a matrix x (rows, columns): the build, the grid, the sums over rows."""

    def __init__(self, x: Array, erf: bool = False) -> None:
        self.xp, self.real = array_module(x), real_dtype(x)
        self.rows, self.columns = x.shape
        vector = 4 if self.columns % 4 == 0 else 1
        self.program = build("columns", x.dtype.name, VECTOR=vector, ERF=int(erf))
        across = -(-self.columns // (vector * THREADS))
        self.grid = (across, max(1, min(self.rows, _ROW_BLOCKS // across)))
        self.size = [np.int32(self.rows), np.int32(self.columns)]

    def run(self, kernel: str, *arguments: Any) -> None:
        """A kernel of the file."""
        launch(self.program, kernel, self.grid, THREADS, list(arguments))

    def partial(self) -> Array:
        """Room for a block's sums: (blocks, columns)."""
        return self.xp.empty((self.grid[1], self.columns), dtype=self.real)


def sum_rows(partial: Array) -> Array:
    """The rows of partial (blocks, columns), float32 or float64, added in a fixed order: (columns,)."""
    xp = array_module(partial)
    rows, columns = partial.shape
    sums = xp.empty(columns, dtype=partial.dtype)
    program = build("columns", partial.dtype.name, VECTOR=1, ERF=0)
    arguments = [partial, np.int32(rows), np.int32(columns), sums]
    launch(program, "sum_rows", (-(-columns // WARP),), 8 * WARP, arguments)
    return sums


def norm_warps(width: int, itemsize: int) -> int:
    """Warps of a block of layer_norm_backward: as many as its shared memory has room for, up to four."""
    return max(1, min(THREADS // WARP, _SHARED // (2 * width * itemsize)))


def row_blocks(rows: int, warps: int) -> int:
    """Blocks for a kernel whose blocks take rows until none is left."""
    return min(_ROW_BLOCKS, -(-rows // warps))
