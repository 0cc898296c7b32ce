"""Arrays wherever they live: NumPy on the CPU, CuPy on an NVIDIA GPU.

There is no global mode. `array_module(x)` asks the array itself, so both libraries work side by side
in one process, and every function of minivit runs where its arguments are.
"""

from __future__ import annotations

import functools
import sys
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from minivit.errors import MinivitError, first_line

# CuPy arrays behave alike; they have no static type, so NumPy's stands for both.
Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

DeviceName = Literal["auto", "cpu", "cuda"]  # "auto": the GPU where CuPy finds one
_NUMPYS = (np.ndarray, np.generic)


def array_module(x: Any) -> Any:
    """Return the library that x (any shape) belongs to: `numpy`, `cupy`, or x's own array namespace.

    Raises TypeError if x is no array (a list or a Python number, say).
    """
    if isinstance(x, _NUMPYS):
        return np
    cupy = sys.modules.get("cupy")  # a CuPy array exists only where CuPy was imported
    if cupy is not None and isinstance(x, cupy.ndarray):
        return cupy
    if hasattr(x, "__array_namespace__"):
        return x.__array_namespace__()
    raise TypeError(f"expected a NumPy or CuPy array, got {type(x).__name__}; wrap it in numpy.asarray(...)")


def is_complex(x: Array) -> bool:
    """Whether x (any shape) is complex, as in the complex-step derivative check."""
    return _is_of("complex floating", array_module(x), x.dtype)


def is_integer(x: Array) -> bool:
    """Whether x (any shape) holds integers."""
    return _is_of("integral", array_module(x), x.dtype)


def _is_bfloat16(dtype: Any) -> bool:
    """bfloat16 is no type of NumPy's own: `isdtype` refuses it."""
    return getattr(dtype, "name", "") == "bfloat16"


# Every pass asks dozens of times, of a handful of types, and NumPy works it out anew each time.
@functools.cache
def _is_of(kinds: str | tuple[str, ...], xp: Any, dtype: Any) -> bool:
    return not _is_bfloat16(dtype) and bool(xp.isdtype(dtype, kinds))


@functools.cache
def _is_float(xp: Any, dtype: Any) -> bool:
    return _is_bfloat16(dtype) or _is_of(("real floating", "complex floating"), xp, dtype)


@functools.cache
def _is_narrow(xp: Any, dtype: Any) -> bool:
    return _is_bfloat16(dtype) or (_is_of("real floating", xp, dtype) and xp.finfo(dtype).bits < 32)


def real_part(x: Array) -> Array:
    """Return the real part of x (any shape); a real x itself."""
    return array_module(x).real(x) if is_complex(x) else x


def cast(x: Array, dtype: Any) -> Array:
    """Return x (any shape) as `dtype`; x itself, not a copy, if it is of that dtype already."""
    return x if x.dtype == dtype else array_module(x).astype(x, dtype)


def wide(x: Array) -> Array:
    """Return x (any shape) as float32 if it is narrower (float16, bfloat16), else x itself.

    Statistics, softmax, losses and parameter gradients are computed on wide(x): a float16 sum of 65
    tokens loses three of its eleven bits. Raises TypeError for integers.
    """
    xp = array_module(x)
    require_floats(x)
    return xp.astype(x, xp.float32) if _is_narrow(xp, x.dtype) else x


def require_floats(x: Array) -> None:
    """Raise TypeError for x (any shape) of integers or booleans: a result "like x" would be cut to these."""
    if not _is_float(array_module(x), x.dtype):
        raise TypeError(f"an array {x.shape} of {x.dtype} was given; expected floating-point numbers: x.astype(float)")


def transposed(x: Array) -> Array:
    """Return x (..., M, N) with its last two axes swapped, (..., N, M): a view, nothing is copied."""
    return array_module(x).moveaxis(x, -1, -2)


def to_host(x: Array) -> Array:
    """Return x (any shape) as a NumPy array: x itself, or a copy from the GPU."""
    return x if isinstance(x, np.ndarray | np.generic) else x.get()


def host_copy(x: Array) -> Array:
    """Return a copy of x (any shape) as a NumPy array, which shares nothing with x."""
    return x.copy() if isinstance(x, np.ndarray | np.generic) else to_host(x)


def to_device(x: Array, device: str) -> Array:
    """Return x (any shape) on `device`, "cpu" or "cuda": x itself if it is there, else a copy.

    Raises ValueError for another device, ImportError where CuPy is not installed.
    """
    if device == "cpu":
        return to_host(x)
    if device == "cuda":
        import cupy

        return cupy.asarray(x)
    raise ValueError(f"device {device!r} is not known; choose 'cpu' or 'cuda'")


def choose_device(wanted: str) -> str:
    """Return "cpu" or "cuda" for `wanted`, which may also be "auto": the GPU where CuPy finds one.

    Raises MinivitError if "cuda" is wanted and cannot be had, and for any other word.
    """
    known = get_args(DeviceName)
    if wanted not in known:
        raise MinivitError(f"device {wanted!r} is not known; expected one of {', '.join(map(repr, known))}")
    if wanted == "cpu":
        return "cpu"
    reason = _why_no_gpu()
    if reason is None:
        return "cuda"
    if wanted == "auto":
        return "cpu"
    raise MinivitError(f"device 'cuda' cannot be used: {reason}; or choose --device cpu")


def _why_no_gpu() -> str | None:
    """None if CuPy can use a GPU, else the reason and its mend."""
    try:
        import cupy
    except Exception as error:  # a broken installation raises anything
        extra = '".[cuda12]" or ".[cuda13]"'
        return f"CuPy cannot be imported ({first_line(error)}); pip install -e {extra}, to match the driver"
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"CuPy finds no working driver ({error}); install NVIDIA's driver"
    return None if count else "CuPy finds no NVIDIA GPU; check that one is plugged in and visible"


def synchronize(x: Array) -> None:
    """Wait until the device of x (any shape) has done its work; before reading a clock, say."""
    if array_module(x).__name__ == "cupy":
        array_module(x).cuda.get_current_stream().synchronize()
