"""Matrix products by cuBLAS, as the model needs them: transposed operands are read where they lie, and a
gradient of parameters comes out in float32 from operands in bfloat16.

cuBLAS stores columns, NumPy rows. A row-major matrix read as columns is its transpose, so c = a b is asked for
as c' = b' a', with the operands swapped.

float32 operands are multiplied as TF32 (10 bits of mantissa, summed in float32) unless `exact_products()` holds.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np

from minivit.arrays import Array, array_module
from minivit.ops.cuda.source import name_of

_exact: ContextVar[bool] = ContextVar("exact", default=False)

# cublasComputeType_t, from NVIDIA's cublas_api.h.
_COMPUTE_32F, _COMPUTE_64F, _COMPUTE_TF32 = 68, 70, 77
_DEFAULT_ALGORITHM = -1
_CUPY_DEFAULT, _CUPY_TF32 = 1, 7  # of cupy._core._routines_linalg
_CUBLAS_DEFAULT, _CUBLAS_TF32 = 0, 3  # cublasMath_t

_SCALARS = {kind: np.array([1, 0], kind) for kind in (np.float32, np.float64)}  # read by the host's side of cuBLAS
_ONE_ZERO = {kind: (x.ctypes.data, x.ctypes.data + x.itemsize) for kind, x in _SCALARS.items()}


class _Kind(NamedTuple):
    """Numbers of a type, as cuBLAS is told of them."""

    data: int  # cudaDataType_t, from NVIDIA's library_types.h
    compute: int  # in what they are multiplied
    one: int  # where 1 and 0 lie
    zero: int


_KINDS = {
    "float32": _Kind(0, _COMPUTE_TF32, *_ONE_ZERO[np.float32]),
    "float64": _Kind(1, _COMPUTE_64F, *_ONE_ZERO[np.float64]),
    "bfloat16": _Kind(14, _COMPUTE_32F, *_ONE_ZERO[np.float32]),
}


class Gemm(NamedTuple):
    """cuBLAS: one product, whose long sums it may share out among many blocks, and a stack of products."""

    single: Callable[..., None]  # cublasGemmEx
    stack: Callable[..., None]  # cublasGemmStridedBatchedEx
    handle: int
    workspace: Any = None  # memory that the handle computes in: kept as long as it
    destroy: Callable[[int], None] | None = None  # what gives the handle back; None: it is CuPy's


_gemm: ContextVar[Gemm | None] = ContextVar("gemm", default=None)


@contextlib.contextmanager
def products_by(gemm: Gemm) -> Iterator[None]:
    """Inside, `gemm` computes the products."""
    token = _gemm.set(gemm)
    try:
        yield
    finally:
        _gemm.reset(token)


def _cupy_gemm(xp: Any) -> Gemm:
    cublas = xp.cuda.cublas
    return Gemm(cublas.gemmEx, cublas.gemmStridedBatchedEx, xp.cuda.device.get_cublas_handle())


@contextlib.contextmanager
def exact_products(wanted: bool = True) -> Iterator[None]:
    """Inside, float32 is multiplied as float32: for comparisons, at a fraction of the speed; with wanted=False as TF32.

    CuPy's own products are, too, which the readable functions are made of. That setting is the whole process's: two
    threads that want different ones have to take turns.
    """
    token = _exact.set(wanted)
    try:
        with _cupys_own(wanted):
            yield
    finally:
        _exact.reset(token)


def exact() -> bool:
    """Whether float32 is multiplied as float32 here."""
    return _exact.get()


@contextlib.contextmanager
def _cupys_own(wanted: bool) -> Iterator[None]:
    """How CuPy multiplies float32: matrices by its own setting, stacks of them by cuBLAS's handle."""
    cupy: Any = sys.modules.get("cupy")
    if cupy is None or int(cupy.cuda.Device().compute_capability) < 80:  # older GPUs have no TF32
        yield
        return
    core, cublas, handle = cupy._core, cupy.cuda.cublas, cupy.cuda.device.get_cublas_handle()
    kind, mode = core.get_compute_type(np.float32), cublas.getMathMode(handle)
    core.set_compute_type(np.float32, _CUPY_DEFAULT if wanted else _CUPY_TF32)
    cublas.setMathMode(handle, _CUBLAS_DEFAULT if wanted else _CUBLAS_TF32)
    try:
        yield
    finally:
        core.set_compute_type(np.float32, kind)
        cublas.setMathMode(handle, mode)


def product(a: Array, b: Array, dtype: Any = None) -> Array:
    """a (M, L) times b (L, N) as (M, N) of `dtype`, the operands' or float32. Transposed views are not copied."""
    c = array_module(a).empty((a.shape[0], b.shape[1]), dtype=dtype or a.dtype)
    products(a, b, c)
    return c


def products(a: Array, b: Array, c: Array) -> None:
    """c (..., M, N) = a (..., M, L) times b (..., L, N), of one matrix or of a stack; views with one unit stride each.

    Raises ValueError if the shapes do not fit or a view has no unit stride.
    """
    *stack, m, inner = a.shape
    n = b.shape[-1]
    if len(stack) > 1 or b.shape != (*stack, inner, n) or c.shape != (*stack, m, n):
        raise ValueError(f"products: a {a.shape}, b {b.shape} and c {c.shape} do not fit; need c = a b")
    kind = _KINDS[name_of(a.dtype)]
    from_a, where_a = _operand(a)
    from_b, where_b = _operand(b)
    from_c, where_c = _operand(c)
    if from_c:
        raise ValueError(f"products: c {c.shape} is transposed; its rows need unit stride")
    compute = _COMPUTE_32F if kind.compute == _COMPUTE_TF32 and exact() else kind.compute
    gemm = _gemm.get() or _cupy_gemm(array_module(a))
    call, count = gemm.single, []
    if stack and stack[0] > 1:
        call, count = gemm.stack, stack
        where_a, where_b, where_c = (
            (*where, x.strides[0] // x.itemsize) for where, x in ((where_a, a), (where_b, b), (where_c, c))
        )
    size = (from_b, from_a, n, m, inner)
    call(gemm.handle, *size, kind.one, *where_b, *where_a, kind.zero, *where_c, *count, compute, _DEFAULT_ALGORITHM)


def _operand(x: Any) -> tuple[int, tuple[int, ...]]:
    """Matrices (..., M, N) as cuBLAS wants them: whether their rows are columns in memory (0 or 1), and where the first
    is, as (pointer, cudaDataType_t, numbers from one row or column to the next).
    """
    size, (rows, columns), (down, across) = x.itemsize, x.shape[-2:], x.strides[-2:]
    pointer, data = x.data.ptr, _KINDS[name_of(x.dtype)].data
    # An axis of length 1 may have any stride.
    if (across == size or columns == 1) and (down >= columns * size or rows == 1):
        return 0, (pointer, data, down // size if rows > 1 else columns)
    if (down == size or rows == 1) and (across >= rows * size or columns == 1):
        return 1, (pointer, data, across // size if columns > 1 else rows)
    raise ValueError(f"products: a view of shape {x.shape} and strides {x.strides} has no unit stride")
