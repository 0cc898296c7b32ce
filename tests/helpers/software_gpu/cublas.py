"""cuBLAS, as far as minivit calls it, through CuPy or nvmath-python. Source: NVIDIA, cuBLAS, "cublasGemmEx"."""

from __future__ import annotations

import itertools
from ctypes import POINTER, c_int, c_longlong, c_size_t, c_ulonglong, c_void_p
from typing import NamedTuple

from helpers import stand_in_blas
from helpers.software_gpu import streams
from helpers.software_gpu.calls import Functions, StatusError
from helpers.software_gpu.memory import arena

cublas = Functions()
Out = POINTER(c_void_p)
_numbers = itertools.count(0x300000)
_handles: dict[int, dict[str, int]] = {}
_SIZE = {0: 4, 1: 8, 4: 8, 5: 16, 14: 2}  # bytes, by cudaDataType_t
_NOT_SUPPORTED = 15  # cublasStatus_t
_FLOAT, _TF32, _TF32_MODE = 68, 77, 3  # cublasComputeType_t, cublasMath_t


@cublas
def cublasCreate_v2(handle: Out):
    handle[0] = next(_numbers)
    _handles[handle[0]] = {"stream": 0, "workspace": 0, "MathMode": 0, "PointerMode_v2": 0}


@cublas
def cublasDestroy_v2(handle: c_void_p):
    del _handles[handle]


@cublas
def cublasSetStream_v2(handle: c_void_p, stream: c_void_p):
    _handles[handle] |= {"stream": stream or 0, "workspace": 0}  # it goes back to memory of cuBLAS's own


@cublas
def cublasGetStream_v2(handle: c_void_p, stream: Out):
    stream[0] = _handles[handle]["stream"]


@cublas
def cublasSetWorkspace_v2(handle: c_void_p, workspace: c_void_p, size: c_size_t):
    arena.demand(workspace, size, "workspace")
    _handles[handle]["workspace"] = size


def _setting(name: str) -> None:
    def set_it(handle: c_void_p, value: c_int):
        _handles[handle][name] = value

    def get_it(handle: c_void_p, value: POINTER(c_int)):
        value[0] = _handles[handle][name]

    for what, function in (("Set", set_it), ("Get", get_it)):
        function.__name__ = f"cublas{what}{name}"
        cublas(function)


_setting("MathMode")
_setting("PointerMode_v2")


@cublas
def cublasGetVersion_v2(handle: c_void_p, version: POINTER(c_int)):
    version[0] = 130000


class Matrices(NamedTuple):
    """A stack of matrices in memory, column by column, as cuBLAS takes it."""

    pointer: int
    kind: int  # cudaDataType_t
    leading: int
    step: int = 0


def _product(handle: int, turned: tuple[int, int], size: tuple[int, int, int], alpha: int, a: Matrices, b: Matrices,
             beta: int, c: Matrices, count: int, compute: int) -> None:  # fmt: skip
    """Queue c = a b, of matrices that may be turned: (m, k) (k, n) = (m, n)."""
    compute = _demand_unscaled(handle, alpha, beta, compute, c.kind)
    stream = _handles[handle]["stream"]
    if streams.get(stream).graph is not None and not _handles[handle]["workspace"]:
        raise StatusError(_NOT_SUPPORTED)  # stricter than cuBLAS, which would allocate memory within the graph
    streams.queue(stream, lambda: _multiply(turned, size, a, b, c, count, compute))


def _demand_unscaled(handle: int, alpha: int, beta: int, compute: int, kind: int) -> int:
    """What is computed in; the only scales that are written here are 1 and 0, read from the host at once."""
    one, zero = (stand_in_blas.scalar(pointer, compute, kind) for pointer in (alpha, beta))
    assert (one, zero, _handles[handle]["PointerMode_v2"]) == (1, 0, 0), (one, zero, _handles[handle])
    return _TF32 if compute == _FLOAT and _handles[handle]["MathMode"] == _TF32_MODE else compute


def _multiply(turned: tuple[int, int], size: tuple[int, int, int], a: Matrices, b: Matrices, c: Matrices, count: int,
              compute: int) -> None:  # fmt: skip
    assert set(turned) <= {0, 1}, "turned and conjugated: not written here"
    m, n, k = size
    shapes = ((k, m) if turned[0] else (m, k), (n, k) if turned[1] else (k, n), (m, n))
    for x, (rows, columns) in zip((a, b, c), shapes, strict=True):
        numbers = (count - 1) * x.step + (columns - 1) * x.leading + rows
        arena.demand(x.pointer, numbers * _SIZE[x.kind], "a matrix", elsewhere=False)
    views = [(x.pointer, x.kind, *shape, x.leading, x.step, count) for x, shape in zip((a, b, c), shapes, strict=True)]
    stand_in_blas.multiply(*views, bool(turned[0]), bool(turned[1]), compute)


# fmt: off
@cublas
def cublasGemmEx(
    handle: c_void_p, transa: c_int, transb: c_int, m: c_int, n: c_int, k: c_int, alpha: c_void_p,
    a: c_void_p, a_type: c_int, lda: c_int, b: c_void_p, b_type: c_int, ldb: c_int, beta: c_void_p,
    c: c_void_p, c_type: c_int, ldc: c_int, compute: c_int, algorithm: c_int,
):
    _product(handle, (transa, transb), (m, n, k), alpha, Matrices(a, a_type, lda), Matrices(b, b_type, ldb), beta,
             Matrices(c, c_type, ldc), 1, compute)


@cublas
def cublasGemmStridedBatchedEx(
    handle: c_void_p, transa: c_int, transb: c_int, m: c_int, n: c_int, k: c_int, alpha: c_void_p,
    a: c_void_p, a_type: c_int, lda: c_int, stride_a: c_longlong,
    b: c_void_p, b_type: c_int, ldb: c_int, stride_b: c_longlong, beta: c_void_p,
    c: c_void_p, c_type: c_int, ldc: c_int, stride_c: c_longlong, count: c_int, compute: c_int, algorithm: c_int,
):
    _product(handle, (transa, transb), (m, n, k), alpha, Matrices(a, a_type, lda, stride_a),
             Matrices(b, b_type, ldb, stride_b), beta, Matrices(c, c_type, ldc, stride_c), count, compute)


def _addresses(at: int, count: int) -> list[int]:
    arena.demand(at, 8 * count, "addresses of matrices", elsewhere=False)
    return list((c_ulonglong * count).from_address(at))


def _of_one_type(letter: str, kind: int, compute: int) -> None:
    def gemm(
        handle: c_void_p, transa: c_int, transb: c_int, m: c_int, n: c_int, k: c_int, alpha: c_void_p,
        a: c_void_p, lda: c_int, b: c_void_p, ldb: c_int, beta: c_void_p, c: c_void_p, ldc: c_int,
    ):
        _product(handle, (transa, transb), (m, n, k), alpha, Matrices(a, kind, lda), Matrices(b, kind, ldb), beta,
                 Matrices(c, kind, ldc), 1, compute)

    def stack(
        handle: c_void_p, transa: c_int, transb: c_int, m: c_int, n: c_int, k: c_int, alpha: c_void_p,
        a: c_void_p, lda: c_int, stride_a: c_longlong, b: c_void_p, ldb: c_int, stride_b: c_longlong, beta: c_void_p,
        c: c_void_p, ldc: c_int, stride_c: c_longlong, count: c_int,
    ):
        _product(handle, (transa, transb), (m, n, k), alpha, Matrices(a, kind, lda, stride_a),
                 Matrices(b, kind, ldb, stride_b), beta, Matrices(c, kind, ldc, stride_c), count, compute)

    def several(
        handle: c_void_p, transa: c_int, transb: c_int, m: c_int, n: c_int, k: c_int, alpha: c_void_p,
        a: c_void_p, lda: c_int, b: c_void_p, ldb: c_int, beta: c_void_p, c: c_void_p, ldc: c_int, count: c_int,
    ):
        how = _demand_unscaled(handle, alpha, beta, compute, kind)

        def work() -> None:  # where the matrices are is written on the GPU
            for x, y, z in zip(*(_addresses(at, count) for at in (a, b, c)), strict=True):
                _multiply((transa, transb), (m, n, k), Matrices(x, kind, lda), Matrices(y, kind, ldb),
                          Matrices(z, kind, ldc), 1, how)

        streams.queue(_handles[handle]["stream"], work)

    cublas[f"cublas{letter}gemmBatched"] = several
    cublas[f"cublas{letter}gemm_v2"], cublas[f"cublas{letter}gemmStridedBatched"] = gemm, stack
# fmt: on


_of_one_type("S", 0, _FLOAT)
_of_one_type("D", 1, 70)
_of_one_type("C", 4, _FLOAT)
_of_one_type("Z", 5, 70)
