"""A stand-in for CuPy: the part of it that minivit uses, on the CPU, as strict as the real one.

    arrays       refuse to mix with NumPy's, as CuPy's do; what the host reads is counted in `waits`
    RawModule    runs the kernels' own source through `helpers.cuda_on_cpu`, types checked
    cuBLAS       computes from pointers and leading dimensions, so a wrong one gives a wrong product

It has no function that CuPy 14 lacks: `test_stand_in.py` compares the two where CuPy can be imported.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import operator
import types
from typing import Any

import ml_dtypes
import numpy as np

from helpers import cuda_on_cpu
from minivit.ops.cuda.source import Build, kernel_files, source

FUNCTIONS = [
    "arange",
    "argmax",
    "ascontiguousarray",
    "astype",
    "broadcast_to",
    "concat",
    "concatenate",
    "divide",
    "cos",
    "empty",
    "empty_like",
    "exp",
    "finfo",
    "full",
    "isdtype",
    "log",
    "max",
    "mean",
    "moveaxis",
    "ones",
    "ones_like",
    "pad",
    "permute_dims",
    "real",
    "reshape",
    "sin",
    "sqrt",
    "stack",
    "sum",
    "tanh",
    "where",
    "zeros",
    "zeros_like",
]
DTYPES = ["float16", "float32", "float64", "complex128", "int32", "int64", "uint8", "uint64", "bool_"]
_DATA = {0: np.dtype(np.float32), 1: np.dtype(np.float64), 14: np.dtype(ml_dtypes.bfloat16)}


class Recorder:
    """What a stream records between begin_capture and end_capture: nothing is executed then, on a GPU."""

    work: list[Any] | None = None

    def refuse(self, what: str) -> None:
        """Raise RuntimeError if the host waits while a graph is recorded."""
        if self.work is not None:
            raise RuntimeError(f"cudaErrorStreamCaptureUnsupported: {what} while a stream is recorded")

    def do(self, action: Any) -> None:
        """Execute, or record."""
        if self.work is None:
            action()
        else:
            self.work.append(action)

    def result(self, function: Any, inputs: list[Any]) -> Any:
        """What `function` gives for `inputs`; recorded, if it is an array of its own and not a view."""
        if self.work is None:
            return function()
        with np.errstate(all="ignore"):  # nothing is computed yet: only its shape and type matter
            found = function()
        if isinstance(found, np.ndarray | np.generic):
            found = np.asarray(found)
            if not any(isinstance(x, np.ndarray) and np.shares_memory(x, found) for x in inputs):
                self.work.append(lambda: np.copyto(found, function()))
        return found


recorder = Recorder()


class Memory:
    """Where an array begins."""

    def __init__(self, ptr: int) -> None:
        self.ptr = ptr


class ndarray:  # noqa: N801  (CuPy's name)
    """An array on the pretended device."""

    __array_ufunc__ = None  # NumPy leaves its operators with us, who refuse

    def __init__(self, array: np.ndarray) -> None:
        self._array = array

    shape = property(lambda self: self._array.shape)
    dtype = property(lambda self: self._array.dtype)
    ndim = property(lambda self: self._array.ndim)
    size = property(lambda self: self._array.size)
    nbytes = property(lambda self: self._array.nbytes)
    itemsize = property(lambda self: self._array.itemsize)
    strides = property(lambda self: self._array.strides)
    flags = property(lambda self: self._array.flags)
    data = property(lambda self: Memory(self._array.ctypes.data))
    T = property(lambda self: ndarray(self._array.T))

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`.")

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, index: Any) -> ndarray:
        found = recorder.result(lambda: self._array[_index(index)], [self._array])
        return ndarray(np.asarray(found))

    def __setitem__(self, index: Any, value: Any) -> None:
        into, source = self._array, _plain(value)

        def write() -> None:
            into[_index(index)] = source

        recorder.do(write)

    def get(self) -> np.ndarray:
        recorder.refuse("a copy to the host")
        module.waits += 1
        return self._array.copy()

    def _read(self, kind: type) -> Any:
        recorder.refuse("a number read by the host")
        module.waits += 1
        return kind(self._array)

    def __float__(self) -> float:
        return self._read(float)

    def __int__(self) -> int:
        return self._read(int)

    def __bool__(self) -> bool:
        return self._read(bool)


def _index(index: Any) -> Any:
    if isinstance(index, tuple):
        return tuple(map(_index, index))
    return index._array if isinstance(index, ndarray) else index


def _plain(value: Any) -> Any:
    """What NumPy computes with; a NumPy array is refused, as CuPy refuses it."""
    if isinstance(value, ndarray):
        return value._array
    if isinstance(value, np.ndarray) and value.ndim:
        raise TypeError(f"Unsupported type {type(value)}")
    if isinstance(value, tuple | list):
        return type(value)(_plain(v) for v in value)
    return value


def _wrapped(value: Any) -> Any:
    return ndarray(np.asarray(value)) if isinstance(value, np.ndarray | np.generic) else value


def _operator(name: str, reflected: bool = False) -> Any:
    function = getattr(operator, f"__{name}__")

    def apply(self: ndarray, *others: Any) -> Any:
        given = [self._array, *map(_plain, others)]
        given = given[::-1] if reflected else given
        return _wrapped(recorder.result(lambda: function(*given), given))

    return apply


for _name in ("add", "sub", "mul", "truediv", "matmul", "pow", "floordiv", "and", "or"):
    setattr(ndarray, f"__{_name}__", _operator(_name))
    setattr(ndarray, f"__r{_name}__", _operator(_name, reflected=True))
for _name in ("neg", "invert", "eq", "ne", "lt", "le", "gt", "ge"):
    setattr(ndarray, f"__{_name}__", _operator(_name))


def _in_place(name: str) -> Any:
    def apply(self: ndarray, other: Any) -> ndarray:
        source = _plain(other)
        recorder.do(lambda: getattr(self._array, name)(source))
        return self

    return apply


for _name in ("iadd", "isub", "imul", "itruediv"):
    setattr(ndarray, f"__{_name}__", _in_place(f"__{_name}__"))


def _method(name: str) -> Any:
    def call(self: ndarray, *given: Any, **named: Any) -> Any:
        method = getattr(self._array, name)
        if name == "fill":
            return recorder.do(lambda: method(*given))
        return _wrapped(recorder.result(lambda: method(*given, **named), [self._array]))

    return call


for _name in ("reshape", "transpose", "astype", "sum", "mean", "max", "min", "argmax", "copy", "ravel", "view", "fill"):
    setattr(ndarray, _name, _method(_name))


def _flat(values: Any) -> list[Any]:
    return [x for value in values for x in (_flat(value) if isinstance(value, tuple | list) else [value])]


def _function(name: str) -> Any:
    def call(*given: Any, **named: Any) -> Any:
        plain, options = [_plain(x) for x in given], {k: _plain(v) for k, v in named.items()}
        function = functools.partial(getattr(np, name), *plain, **options)
        if "out" in options:
            recorder.do(function)
            return named["out"]
        return _wrapped(recorder.result(function, [*_flat(plain), *options.values()]))

    return call


class RawModule:
    """Compiled CUDA: the text must be that of a kernel file."""

    def __init__(self, code: str, options: tuple[str, ...]) -> None:
        file = next(file for file in kernel_files() if source(file) == code)
        macros = [option[2:].split("=") for option in options if option.startswith("-D")]
        self.build = Build(file, tuple((name, int(value)) for name, value in macros))

    def get_function(self, name: str) -> Any:
        def launch(
            grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...], *, shared_mem: int = 0
        ) -> None:
            assert shared_mem <= 48 * 1024, "a block gets no more shared memory without asking"
            arguments = [a._array if isinstance(a, ndarray) else a for a in args]
            recorder.do(lambda: cuda_on_cpu.run(self.build, name, grid, block, arguments))

        return launch


def _columns(pointer: int, data: int, rows: int, columns: int, leading: int, step: int, stack: int) -> np.ndarray:
    """Column-major matrices (stack, rows, columns) in memory, as cuBLAS sees them."""
    if leading < rows:
        raise ValueError(f"CUBLAS_STATUS_INVALID_VALUE: leading dimension {leading} of {rows} rows")
    dtype = _DATA[data]
    last = (stack - 1) * step + (columns - 1) * leading + rows
    flat = np.frombuffer((ctypes.c_char * (last * dtype.itemsize)).from_address(pointer), dtype)
    size = dtype.itemsize
    return np.lib.stride_tricks.as_strided(flat, (stack, rows, columns), (step * size, size, leading * size))


def _tf32(x: np.ndarray) -> np.ndarray:
    """float32 rounded to the 10 bits of mantissa that TF32 has."""
    bits = np.ascontiguousarray(x).view(np.uint32)
    return ((bits + 0xFFF + (bits >> 13 & 1)) & ~np.uint32(0x1FFF)).view(np.float32)


def _scalar(pointer: int, compute: int) -> float:
    kind = ctypes.c_double if compute == 70 else ctypes.c_float
    return ctypes.cast(pointer, ctypes.POINTER(kind))[0]


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
    one, zero = (_scalar(pointer, compute) for pointer in (alpha, beta))
    assert (one, zero) == (1, 0)
    recorder.do(lambda: _gemm(
        (a, a_type, *((k, m) if transa else (m, k)), lda, stride_a, count),
        (b, b_type, *((n, k) if transb else (k, n)), ldb, stride_b, count),
        (c, c_type, m, n, ldc, stride_c, count), bool(transa), bool(transb), compute,
    ))


def _gemm(a: Any, b: Any, c: Any, transa: bool, transb: bool, compute: int) -> None:
    left, right, into = _columns(*a), _columns(*b), _columns(*c)
    a_type, b_type, c_type = a[1], b[1], c[1]
    work = {68: np.float32, 70: np.float64, 77: np.float32}[compute]
    if a_type != b_type or (compute == 70) != (a_type == 1):
        raise ValueError(f"CUBLAS_STATUS_NOT_SUPPORTED: types {a_type}, {b_type} and {c_type} computed as {compute}")
    left, right = left.astype(work), right.astype(work)
    if compute == 77:
        left, right = _tf32(left), _tf32(right)
    left = left.transpose(0, 2, 1) if transa else left
    right = right.transpose(0, 2, 1) if transb else right
    into[...] = (left @ right).astype(into.dtype)


CUPY_HANDLE = 1


def _asarray(x: Any, dtype: Any = None) -> ndarray:
    if not isinstance(x, ndarray):
        recorder.refuse("a copy from the host")
    return x if isinstance(x, ndarray) and dtype in (None, x.dtype) else ndarray(np.array(_index(x), dtype=dtype))


module: Any = types.ModuleType("cupy")
module.waits = 0
module.ndarray, module.asarray, module.array, module.RawModule = ndarray, _asarray, _asarray, RawModule
for _name in FUNCTIONS:
    setattr(module, _name, _function(_name))
for _name in DTYPES:
    setattr(module, _name, getattr(np, _name))
module.lib = types.SimpleNamespace(
    stride_tricks=types.SimpleNamespace(sliding_window_view=lambda x, *given, **named: ndarray(
        np.lib.stride_tricks.sliding_window_view(x._array, *given, **named)))
)


def _synchronize() -> None:
    recorder.refuse("waiting")
    module.waits += 1


class RecordedGraph:
    """What was recorded, to be launched again and again."""

    def __init__(self, work: list[Any]) -> None:
        self.work, self.launches = work, 0

    def launch(self, stream: Any = None) -> None:
        self.launches += 1
        for action in self.work:
            action()


class Stream:
    """A queue of work."""

    ptr = 7

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: Any) -> None:
        pass

    def begin_capture(self) -> None:
        recorder.work = []

    def end_capture(self) -> RecordedGraph:
        work, recorder.work = recorder.work, None
        return RecordedGraph(work or [])

    def synchronize(self) -> None:
        _synchronize()


class MemoryPool:
    """Its memory is NumPy's."""

    def malloc(self, size: int) -> None:
        raise NotImplementedError


# What minivit uses of nvmath.bindings.cublas.
nvmath_cublas: Any = types.ModuleType("nvmath.bindings.cublas")
nvmath_cublas.create = lambda: 2
nvmath_cublas.set_stream = lambda handle, stream: None
nvmath_cublas.set_workspace = lambda handle, workspace, size: None
nvmath_cublas.gemm_strided_batched_ex = gemm_strided_batched_ex


_stream = types.SimpleNamespace(synchronize=_synchronize)
module.cuda = types.SimpleNamespace(
    Device=lambda: types.SimpleNamespace(id=0),
    device=types.SimpleNamespace(get_cublas_handle=lambda: CUPY_HANDLE),
    cublas=types.SimpleNamespace(gemmStridedBatchedEx=gemm_strided_batched_ex),
    get_current_stream=lambda: _stream,
    Stream=Stream,
    MemoryPool=MemoryPool,
    using_allocator=lambda malloc: contextlib.nullcontext(),
    runtime=types.SimpleNamespace(getDeviceCount=lambda: 1, CUDARuntimeError=RuntimeError),
)
