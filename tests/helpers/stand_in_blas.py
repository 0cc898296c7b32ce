"""cuBLAS of the stand-in for CuPy: products from pointers and leading dimensions, as a GPU computes them."""

from __future__ import annotations

import ctypes
import types
from typing import Any

import ml_dtypes
import numpy as np

from helpers.stand_in_stream import recorder

CUPY_HANDLE = 1  # through CuPy nothing may be recorded
_DATA = {  # by cudaDataType_t
    0: np.dtype(np.float32), 1: np.dtype(np.float64), 14: np.dtype(ml_dtypes.bfloat16),
    4: np.dtype(np.complex64), 5: np.dtype(np.complex128),
}  # fmt: skip


class Setting:
    """How CuPy's own products multiply float32, as the stand-in remembers it."""

    compute_type, math_mode = 1, 0  # the defaults; TF32 is 7, 3

    @classmethod
    def rounds(cls, x: np.ndarray) -> bool:
        """Whether a factor is rounded to TF32: a matrix by the one setting, a stack of them by the other."""
        return x.dtype == np.float32 and (cls.math_mode == 3 if x.ndim > 2 else cls.compute_type == 7)


def _set(name: str, value: int) -> None:
    setattr(Setting, name, value)


cupy_core = types.SimpleNamespace(
    get_compute_type=lambda dtype: Setting.compute_type,
    set_compute_type=lambda dtype, kind: _set("compute_type", kind),
)


def _columns(pointer: int, data: int, rows: int, columns: int, leading: int, step: int, stack: int) -> np.ndarray:
    """Column-major matrices (stack, rows, columns) in memory, as cuBLAS sees them."""
    if leading < rows:
        raise ValueError(f"CUBLAS_STATUS_INVALID_VALUE: leading dimension {leading} of {rows} rows")
    dtype = _DATA[data]
    last = (stack - 1) * step + (columns - 1) * leading + rows
    flat = np.frombuffer((ctypes.c_char * (last * dtype.itemsize)).from_address(pointer), dtype)
    size = dtype.itemsize
    return np.lib.stride_tricks.as_strided(flat, (stack, rows, columns), (step * size, size, leading * size))


def tf32(x: np.ndarray) -> np.ndarray:
    """float32 rounded to the 10 bits of mantissa that TF32 has."""
    bits = np.ascontiguousarray(x).view(np.uint32)
    return ((bits + 0xFFF + (bits >> 13 & 1)) & ~np.uint32(0x1FFF)).view(np.float32)


def scalar(pointer: int, compute: int, data: int) -> complex:
    """A number that a product of matrices of type `data` is scaled by, where it lies."""
    kind = ctypes.c_double if compute == 70 else ctypes.c_float
    parts = ctypes.cast(pointer, ctypes.POINTER(kind))
    return complex(parts[0], parts[1]) if _DATA[data].kind == "c" else parts[0]


# fmt: off
def gemm_strided_batched_ex(
    handle: int, transa: int, transb: int, m: int, n: int, k: int, alpha: int, a: int, a_type: int, lda: int,
    stride_a: int, b: int, b_type: int, ldb: int, stride_b: int, beta: int, c: int, c_type: int, ldc: int,
    stride_c: int, count: int, compute: int, algorithm: int,
) -> None:
    """c = a b, column-major, from pointers: cublasGemmStridedBatchedEx."""
# fmt: on
    if recorder.work is not None and handle == CUPY_HANDLE:
        raise NotImplementedError("calling cuBLAS API during stream capture is currently unsupported")
    one, zero = (scalar(pointer, compute, c_type) for pointer in (alpha, beta))
    assert (one, zero) == (1, 0)
    recorder.do(lambda: multiply(
        (a, a_type, *((k, m) if transa else (m, k)), lda, stride_a, count),
        (b, b_type, *((n, k) if transb else (k, n)), ldb, stride_b, count),
        (c, c_type, m, n, ldc, stride_c, count), bool(transa), bool(transb), compute,
    ))


# fmt: off
def gemm_ex(
    handle: int, transa: int, transb: int, m: int, n: int, k: int, alpha: int, a: int, a_type: int, lda: int,
    b: int, b_type: int, ldb: int, beta: int, c: int, c_type: int, ldc: int, compute: int, algorithm: int,
) -> None:
    """The same for a single product: cublasGemmEx."""
    gemm_strided_batched_ex(
        handle, transa, transb, m, n, k, alpha, a, a_type, lda, 0, b, b_type, ldb, 0, beta, c, c_type, ldc, 0, 1,
        compute, algorithm,
    )
# fmt: on


def multiply(a: Any, b: Any, c: Any, transa: bool, transb: bool, compute: int) -> None:
    """c = a b of matrices in memory, each (pointer, type, rows, columns, leading dimension, step, stack)."""
    left, right, into = _columns(*a), _columns(*b), _columns(*c)
    a_type, b_type, c_type = a[1], b[1], c[1]
    work = {68: np.float32, 70: np.float64, 77: np.float32}[compute]
    if a_type != b_type or (compute == 70) != (a_type in (1, 5)):
        raise ValueError(f"CUBLAS_STATUS_NOT_SUPPORTED: types {a_type}, {b_type} and {c_type} computed as {compute}")
    if into.dtype.kind == "c":
        work = np.result_type(work, np.complex64)
    left, right = left.astype(work), right.astype(work)
    if compute == 77:
        left, right = tf32(left), tf32(right)
    left = left.transpose(0, 2, 1) if transa else left
    right = right.transpose(0, 2, 1) if transb else right
    into[...] = (left @ right).astype(into.dtype)


# What minivit uses of cupy.cuda.cublas, and of nvmath.bindings.cublas.
cupy_cublas = types.SimpleNamespace(
    gemmEx=gemm_ex,
    gemmStridedBatchedEx=gemm_strided_batched_ex,
    getMathMode=lambda handle: Setting.math_mode,
    setMathMode=lambda handle, mode: _set("math_mode", mode),
)
nvmath_cublas: Any = types.ModuleType("nvmath.bindings.cublas")
nvmath_cublas.create = lambda: 2
nvmath_cublas.destroy = lambda handle: None
nvmath_cublas.set_stream = lambda handle, stream: None
nvmath_cublas.set_workspace = lambda handle, workspace, size: None
nvmath_cublas.gemm_ex = gemm_ex
nvmath_cublas.gemm_strided_batched_ex = gemm_strided_batched_ex
