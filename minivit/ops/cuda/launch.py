"""Launching kernels: the compiled function of a build, grids that fill a GPU, sums in a fixed order."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from minivit.arrays import Array, array_module
from minivit.ops.cuda.source import STORAGE, Build, build, name_of, source

WARP = 32
THREADS = 128  # of a block
# Blocks that share a matrix and leave a sum each: for an H100's 132 multiprocessors, so many that enough reads are on
# their way at a time, and all at work at once. The same number on every GPU: sums are added in the same order.
_MULTIPROCESSORS, _REGISTERS = 132, 65536  # of each
_COLUMN_THREADS, _COLUMN_BLOCKS = 64, 16 * _MULTIPROCESSORS  # of columns.cu
_SUM_WARPS = 32  # of a block of sum_rows: the kernel's WARPS
_MOST_DOWN = 65535  # blocks in a grid's second dimension
_SHARED = 48 * 1024  # bytes of shared memory that every GPU gives a block without asking


def launch(
    program: Build, kernel: str, grid: tuple[int, ...], threads: int, arguments: list[Any], shared: int = 0
) -> None:
    """Queue a kernel on the current stream; `arguments` are arrays, None for a null pointer, and NumPy scalars.

    `shared` are the bytes of shared memory that a block gets on top of what the kernel declares.
    """
    xp = array_module(next(a for a in arguments if a is not None))
    function = _function(program, kernel, xp.cuda.Device().id, shared)
    function(grid, (threads,), tuple(arguments), shared_mem=shared)


@functools.cache
def _function(program: Build, kernel: str, device: int, shared: int) -> Any:
    function = _module(program, device).get_function(kernel)
    if shared > _SHARED:
        function.max_dynamic_shared_size_bytes = shared  # more than every GPU gives has to be asked for
    return function


@functools.cache
def _module(program: Build, device: int) -> Any:
    """The compiled file; CuPy keeps the machine code on disk, so a second start compiles nothing."""
    import cupy

    return cupy.RawModule(code=source(program.file), options=program.options)


def shared_limit(xp: Any) -> int:
    """Bytes of shared memory that a block can have on the current GPU, if it asks."""
    return int(xp.cuda.Device().attributes["MaxSharedMemoryPerBlockOptin"])


def stored(*arrays: Any) -> bool:
    """Whether the kernels take these arrays: CuPy's, of one storage type, contiguous, aligned, and not empty."""
    kind, dtype = type(arrays[0]), arrays[0].dtype
    if name_of(dtype) not in STORAGE or array_module(arrays[0]).__name__ != "cupy":
        return False
    return all(
        type(a) is kind and a.dtype == dtype and a.size and a.flags.c_contiguous and a.data.ptr % 16 == 0
        for a in arrays
    )


def aligned(x: Any) -> Any:
    """x, contiguous and beginning where the kernels read 16 bytes: itself, or a copy, as a view may begin anywhere."""
    if stored(x):
        return x
    x = array_module(x).ascontiguousarray(x)
    return x if stored(x) or array_module(x).__name__ != "cupy" else x.copy()


def like(x: Any, w: Any) -> bool:
    """Whether x can be multiplied by w: of its library and type, and not empty. Its rows may be copied first."""
    return type(x) is type(w) and x.dtype == w.dtype and x.size > 0


def real_dtype(x: Array) -> Any:
    """What is computed in, and what gradients of parameters are: float32, or float64 for float64."""
    return np.float64 if x.dtype == np.float64 else np.float32


def warps_grid(rows: int) -> tuple[int]:
    """Blocks for a kernel that gives each row a warp."""
    return (-(-rows // (THREADS // WARP)),)


class Columns:
    """columns.cu on a matrix x (rows, columns): the build, and grids with enough reads on their way at a time.

    With `eight` a thread takes eight columns where they can be told apart so, as masks need it. Where the columns are
    tokens of a `width`, a thread's lie in one of them.
    """

    def __init__(self, x: Array, erf: bool = False, eight: bool = False, width: int = 0) -> None:
        self.xp, self.real = array_module(x), real_dtype(x)
        self.rows, self.columns = x.shape
        wanted = 8 if eight else 16 // x.itemsize  # as many as one access takes, or as one draw gives
        self.vector = wanted if (width or self.columns) % wanted == 0 else 1
        self.program = build("columns", x.dtype, VECTOR=self.vector, ERF=int(erf))
        self.across = -(-self.columns // (self.vector * _COLUMN_THREADS))

    def change(self, kernel: str, inputs: list[Any], outputs: tuple[Array | None, ...]) -> None:
        """A kernel that writes outputs, of which one may be an input: a few rows a thread."""
        self._run(kernel, -(-self.rows // 4), inputs, outputs)

    def sums(self, kernel: str, inputs: list[Any]) -> Array:
        """A kernel that also adds up rows, many a thread: the sums (columns,), float32 or wider."""
        blocks = min(self.rows, _COLUMN_BLOCKS // self.across)
        partial = self.xp.empty((max(1, blocks), self.columns), dtype=self.real)
        self._run(kernel, len(partial), inputs, (partial,))
        return sum_rows(partial)

    def _run(self, kernel: str, down: int, inputs: list[Any], outputs: tuple[Array | None, ...]) -> None:
        grid = (self.across, max(1, min(down, _MOST_DOWN)))
        size = [np.int32(self.rows), np.int32(self.columns)]
        launch(self.program, kernel, grid, _COLUMN_THREADS, [*inputs, *size, *outputs])


def column_sums(x: Array) -> Array:
    """x (rows, columns) summed over its rows: (columns,), float32 or wider."""
    return Columns(x).sums("column_sums", [x])


def sum_rows(partial: Array) -> Array:
    """The rows of partial (blocks, columns), float32 or float64, added in a fixed order: (columns,)."""
    xp = array_module(partial)
    rows, columns = partial.shape
    sums = xp.empty(columns, dtype=partial.dtype)
    program = build("columns", partial.dtype, VECTOR=1, ERF=0)
    arguments = [partial, np.int32(rows), np.int32(columns), sums]
    launch(program, "sum_rows", (-(-columns // WARP),), _SUM_WARPS * WARP, arguments)
    return sums


def norm_warps(width: int, itemsize: int) -> int:
    """Warps of a block of layer_norm_backward: as many as its shared memory has room for, up to four."""
    return max(1, min(THREADS // WARP, _SHARED // (2 * width * itemsize)))


def row_blocks(rows: int, warps: int, width: int) -> int:
    """Blocks for layer_norm_backward, which take rows until none is left: all of them at work at once, up to six each.

    Blocks that have to wait for others would work while most of a GPU rests. A thread has about width / 4 registers,
    32 to 256, where activations are not float64, which is for checks.
    """
    at_once = max(1, min(6, _REGISTERS // (WARP * warps * min(256, max(width // 4, 32)))))
    return min(at_once * _MULTIPROCESSORS, -(-rows // warps))
