"""A stand-in for CuPy: the part of it that minivit uses, on the CPU, as strict as the real one.

    arrays       refuse to mix with NumPy's, as CuPy's do; what the host reads is counted in `waits`
    RawModule    runs the kernels through `helpers.cuda_on_cpu`, or `helpers.ptx`, types checked
    cuBLAS       computes from pointers and leading dimensions, so a wrong one gives a wrong product

It has no function that CuPy 14 lacks: `test_stand_in.py` compares the two where CuPy can be imported.
"""

from __future__ import annotations

import contextlib
import functools
import operator
import types
from typing import Any

import numpy as np

from helpers import cuda_on_cpu
from helpers.kernel_sources import kernel_files
from helpers.stand_in_blas import CUPY_HANDLE, Setting, cupy_core, cupy_cublas, tf32
from helpers.stand_in_blas import nvmath_cublas as nvmath_cublas
from helpers.stand_in_stream import Event, Stream, Waits, get_elapsed_time, recorder, synchronize
from minivit.ops.cuda.source import Build, source

kernels: Any = cuda_on_cpu  # what runs them
FUNCTIONS = [
    "arange", "argmax", "ascontiguousarray", "astype", "broadcast_to", "concat", "concatenate", "divide", "cos",
    "empty", "empty_like", "exp", "eye", "finfo", "full", "isdtype", "log", "max", "mean", "moveaxis", "ones",
    "ones_like", "pad", "permute_dims", "real", "reshape", "sin", "sqrt", "stack", "sum", "tanh", "where", "zeros",
    "zeros_like",
]  # fmt: skip
DTYPES = ["float16", "float32", "float64", "complex128", "int32", "int64", "uint8", "uint64", "bool_"]


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
        Waits.count += 1
        return self._array.copy()

    def set(self, array: np.ndarray) -> None:
        recorder.refuse("a copy from the host")
        if (array.shape, array.dtype) != (self.shape, self.dtype):
            raise ValueError(f"an array {array.shape} of {array.dtype} for one {self.shape} of {self.dtype}")
        self._array[...] = array

    def _read(self, kind: type) -> Any:
        recorder.refuse("a number read by the host")
        Waits.count += 1
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


def _narrow(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype.name == "bfloat16"


def _as(x: Any, dtype: Any) -> Any:
    return x if dtype is None else x.astype(dtype)


def _operator(name: str, reflected: bool = False) -> Any:
    function = getattr(operator, f"__{name}__")

    def apply(self: ndarray, *others: Any) -> Any:
        given = [self._array, *map(_plain, others)]
        given = given[::-1] if reflected else given
        if name == "matmul":
            recorder.refuse("a product by CuPy's cuBLAS")
            if any(_narrow(x) and x.ndim > 2 for x in given):
                raise TypeError("CuPy multiplies no stacks of bfloat16 matrices")
            narrow = all(map(_narrow, given))  # NumPy would give float32
            given = [tf32(x) if Setting.rounds(x) else x for x in given]
            return _wrapped(recorder.result(lambda: _as(function(*given), given[0].dtype if narrow else None), given))
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
        if name == "where":  # CuPy has none for bfloat16
            plain[1:] = [x.astype(np.float32) if _narrow(x) else x for x in plain[1:]]
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
            assert shared_mem <= launch.max_dynamic_shared_size_bytes, "no more shared memory without asking"
            arguments = [a._array if isinstance(a, ndarray) else a for a in args]
            recorder.do(lambda: kernels.run(self.build, name, grid, block, arguments, shared_mem))

        launch.max_dynamic_shared_size_bytes = 48 * 1024  # what every GPU gives, until more is asked for
        return launch


def _asarray(x: Any, dtype: Any = None) -> ndarray:
    if not isinstance(x, ndarray):
        recorder.refuse("a copy from the host")
    return x if isinstance(x, ndarray) and dtype in (None, x.dtype) else ndarray(np.array(_index(x), dtype=dtype))


module: Any = types.ModuleType("cupy")
module.ndarray, module.asarray, module.array, module.RawModule = ndarray, _asarray, _asarray, RawModule
vars(module).update({name: _function(name) for name in FUNCTIONS} | {name: getattr(np, name) for name in DTYPES})
module._core, module.__version__ = cupy_core, "0"
module.lib = types.SimpleNamespace(
    stride_tricks=types.SimpleNamespace(
        sliding_window_view=lambda x, *given, **named: ndarray(
            np.lib.stride_tricks.sliding_window_view(x._array, *given, **named)
        )
    )
)


class MemoryPool:
    """Its memory is NumPy's."""

    def __init__(self, allocator: Any = None) -> None:
        self.allocator = allocator

    def malloc(self, size: int) -> None:
        raise NotImplementedError

    def free_all_blocks(self) -> None:
        pass


module.get_default_memory_pool = lambda: types.SimpleNamespace(free_all_blocks=lambda: None)
_stream = types.SimpleNamespace(synchronize=synchronize)
module.cuda = types.SimpleNamespace(
    # What an H100 says.
    Device=lambda: types.SimpleNamespace(
        id=0, compute_capability="90", attributes={"MaxSharedMemoryPerBlockOptin": 232448}
    ),
    device=types.SimpleNamespace(get_cublas_handle=lambda: CUPY_HANDLE),
    cublas=cupy_cublas,
    get_current_stream=lambda: _stream,
    Stream=Stream,
    Event=Event,
    get_elapsed_time=get_elapsed_time,
    MemoryPool=MemoryPool,
    using_allocator=lambda malloc: contextlib.nullcontext(),
    runtime=types.SimpleNamespace(
        getDeviceCount=lambda: 1, CUDARuntimeError=RuntimeError, getDeviceProperties=lambda i: {"name": b"none"}
    ),
)
