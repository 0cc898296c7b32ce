"""Matrix products by cuBLAS, as the model needs them: transposed operands are read where they lie, and a
gradient of parameters comes out in float32 from operands in bfloat16.

cuBLAS stores columns, NumPy rows. A row-major matrix read as columns is its transpose, so c = a b is asked for
as c' = b' a', with the operands swapped.

float32 operands are multiplied as TF32 (10 bits of mantissa, summed in float32) unless `exact_products()` holds.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np

from minivit.arrays import Array, array_module

_exact: ContextVar[bool] = ContextVar("exact", default=False)

# cudaDataType_t and cublasComputeType_t, from NVIDIA's library_types.h and cublas_api.h.
_DATA = {"float32": 0, "float64": 1, "bfloat16": 14}
_COMPUTE_32F, _COMPUTE_64F, _COMPUTE_TF32 = 68, 70, 77
_DEFAULT_ALGORITHM = -1


class Gemm(NamedTuple):
    """cuBLAS with its handle: one product, where it may also split the sum over many blocks, and a stack of them."""

    single: Callable[..., None]  # cublasGemmEx
    stack: Callable[..., None]  # cublasGemmStridedBatchedEx


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
    cublas, handle = xp.cuda.cublas, xp.cuda.device.get_cublas_handle()
    return Gemm(functools.partial(cublas.gemmEx, handle), functools.partial(cublas.gemmStridedBatchedEx, handle))


@contextlib.contextmanager
def exact_products(exact: bool = True) -> Iterator[None]:
    """Inside, float32 is multiplied as float32: for comparisons, at a fraction of the speed."""
    token = _exact.set(exact)
    try:
        yield
    finally:
        _exact.reset(token)


class Operand(NamedTuple):
    """A stack of matrices in memory, as cuBLAS wants it."""

    place: tuple[int, int, int]  # pointer, cudaDataType_t, numbers from one row (column, if transposed) to the next
    step: int  # numbers from one matrix of the stack to the next
    transposed: bool  # of the row-major reading


def product(a: Array, b: Array, dtype: Any = None) -> Array:
    """a (M, L) times b (L, N) as (M, N) of `dtype`, the operands' or float32. Transposed views are not copied."""
    c = array_module(a).empty((a.shape[0], b.shape[1]), dtype=dtype or a.dtype)
    products(a[None], b[None], c[None])
    return c


def products(a: Array, b: Array, c: Array) -> None:
    """c (S, M, N) = a (S, M, L) times b (S, L, N), matrix by matrix; views with one unit stride each.

    Raises ValueError if the shapes do not fit or a view has no unit stride.
    """
    (stack, m, inner), n = a.shape, b.shape[2]
    if b.shape != (stack, inner, n) or c.shape != (stack, m, n):
        raise ValueError(f"products: a {a.shape}, b {b.shape} and c {c.shape} do not fit; need c = a b")
    left, right, into = _operand(a), _operand(b), _operand(c)
    if into.transposed:
        raise ValueError(f"products: c {c.shape} is transposed; its rows need unit stride")
    xp = array_module(a)
    double = a.dtype == np.float64
    one, zero = (np.array(x, np.float64 if double else np.float32) for x in (1, 0))
    compute = _COMPUTE_64F if double else _COMPUTE_32F
    if a.dtype == np.float32 and not _exact.get():
        compute = _COMPUTE_TF32
    gemm = _gemm.get() or _cupy_gemm(xp)
    b_, a_, c_ = (x.place if stack == 1 else (*x.place, x.step) for x in (right, left, into))
    arguments = (
        int(right.transposed), int(left.transposed), n, m, inner, one.ctypes.data, *b_, *a_, zero.ctypes.data, *c_,
    )  # fmt: skip
    if stack == 1:
        gemm.single(*arguments, compute, _DEFAULT_ALGORITHM)
    else:
        gemm.stack(*arguments, stack, compute, _DEFAULT_ALGORITHM)


def _operand(x: Any) -> Operand:
    size = x.itemsize
    step, down, across = (s // size for s in x.strides)
    rows, columns = x.shape[1:]
    data = _DATA[x.dtype.name]
    # An axis of length 1 may have any stride.
    if (across == 1 or columns == 1) and (down >= columns or rows == 1):
        return Operand((x.data.ptr, data, max(down if rows > 1 else columns, columns)), step, False)
    if (down == 1 or rows == 1) and (across >= rows or columns == 1):
        return Operand((x.data.ptr, data, max(across if columns > 1 else rows, rows)), step, True)
    raise ValueError(f"products: a view of shape {x.shape} and strides {x.strides} has no unit stride")
