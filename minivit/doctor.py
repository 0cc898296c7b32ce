"""What is installed, what works, and the one command that mends what does not.

Every check is a function that returns a `Finding`, so that each problem can be tested without having it.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.metadata
import platform
import re
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from minivit.errors import first_line, is_out_of_memory
from minivit.threads import cores

_FULL = "end what holds the GPU's memory: `nvidia-smi` names it"


class Finding(NamedTuple):
    """One line of the report."""

    what: str
    found: str
    fix: str = ""  # a command; empty: nothing to mend
    wrong: bool = False  # whether something that was installed does not work


def findings() -> Iterator[Finding]:
    """All checks, from Python to a result computed on the GPU."""
    yield Finding("Python", f"{platform.python_version()}, {platform.system()} {platform.machine()}")
    yield numpy_finding()
    yield numba_finding()
    yield cpu_result()
    driver = driver_version()
    yield driver_finding(driver)
    cupy = cupy_finding(driver, cupy_wheels())
    yield cupy
    if driver is not None and not cupy.fix:
        yield from gpu_findings(importlib.import_module("cupy"), cupy_extra(driver))


def numpy_finding() -> Finding:
    """NumPy, its matrix library, and how many cores they may use."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    found = f"{np.__version__} with {blas['name']} {blas['version']}, {cores()} cores"
    return Finding("NumPy", found)


def numba_finding() -> Finding:
    """Whether the compiled functions for the CPU can be had."""
    try:
        numba = importlib.import_module("numba")
    except ImportError as error:
        return Finding("Numba", f"none ({error}); training on the CPU is slower", 'pip install -e ".[fast]"')
    return Finding("Numba", numba.__version__)


def cpu_result() -> Finding:
    """A gradient computed here against the complex-step derivative."""
    from minivit.gradcheck import check
    from minivit.gradcheck.catalog import FUNCTIONS

    case = FUNCTIONS["layer_norm"]
    report = check(case.f, case.f_backward, case.args)
    found = f"layer norm's gradients differ from the complex-step derivative by {report.error:.0e}"
    return Finding("result on the CPU", found, wrong=not report.passed)


def driver_version() -> int | None:
    """The CUDA version that the driver supports, 13000 for 13.0; None without a driver."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        library = ctypes.CDLL(name)
    except OSError:
        return None
    version = ctypes.c_int()
    return version.value if library.cuDriverGetVersion(ctypes.byref(version)) == 0 else None


def driver_finding(driver: int | None) -> Finding:
    """NVIDIA's driver."""
    if driver is None:
        return Finding("NVIDIA driver", "none; the CPU computes (a GPU needs NVIDIA's driver first)")
    if driver < 12000:
        return Finding(
            "NVIDIA driver", f"CUDA {_dotted(driver)}, older than 12.0", "install a newer driver from nvidia.com", True
        )
    return Finding("NVIDIA driver", f"CUDA {_dotted(driver)}")


def cupy_wheels() -> list[str]:
    """The CuPy packages that are installed: one, or there is a problem."""
    names = {str(d.metadata["Name"]).lower() for d in importlib.metadata.distributions()}
    return sorted(name for name in names if re.fullmatch(r"cupy(-cuda\d+x|-rocm-.*)?", name))


def cupy_extra(driver: int | None) -> str:
    """The extra of minivit that fits a driver."""
    return "cuda13" if driver is not None and driver >= 13000 else "cuda12"


def cupy_finding(driver: int | None, wheels: list[str]) -> Finding:
    """Whether CuPy is there, once, for this driver, and can be imported."""
    install = f'pip install -e ".[{cupy_extra(driver)}]"'
    if not wheels:
        return Finding("CuPy", "none", install if driver is not None else "")
    if len(wheels) > 1:
        remove = f"pip uninstall -y {' '.join(wheels)} && {install}"
        return Finding("CuPy", f"{len(wheels)} at once, which break each other: {', '.join(wheels)}", remove, True)
    built_for = re.fullmatch(r"cupy-cuda(\d+)x", wheels[0])
    if driver is not None and built_for and int(built_for[1]) * 1000 > driver:
        found = f"{wheels[0]}, but the driver supports CUDA {_dotted(driver)} at most"
        return Finding("CuPy", found, f"pip uninstall -y {wheels[0]} && {install}", True)
    try:
        cupy = importlib.import_module("cupy")
    except Exception as error:  # a broken installation raises anything
        again = f"pip uninstall -y {wheels[0]} && {install}"
        return Finding("CuPy", f"{wheels[0]} cannot be imported ({first_line(error)})", again, True)
    return Finding("CuPy", f"{cupy.__version__} ({wheels[0]})")


def gpu_findings(cupy: Any, extra: str) -> Iterator[Finding]:
    """The GPU, its memory, whether kernels compile, and a result."""
    try:
        properties = cupy.cuda.runtime.getDeviceProperties(0)
        free, total = cupy.cuda.runtime.memGetInfo()
    except Exception as error:
        if is_out_of_memory(error):
            yield Finding("GPU", f"its memory is full ({first_line(error).rstrip('.')})", _FULL, True)
            return
        mend = "check `nvidia-smi`, and that CUDA_VISIBLE_DEVICES does not hide the GPU"
        yield Finding("GPU", f"none that CuPy can use ({first_line(error)})", mend, True)
        return
    yield Finding("GPU", f"{properties['name'].decode()}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free")
    yield gpu_result(cupy, extra)
    yield graph_finding(extra)


def gpu_result(cupy: Any, extra: str) -> Finding:
    """A fused layer norm and a product on the GPU against NumPy, in float64 and bfloat16: headers and all."""
    try:
        errors = {kind: _gpu_error(cupy, kind) for kind in ("float64", "bfloat16")}
    except Exception as error:
        if is_out_of_memory(error):
            said = f"not even this check has room ({first_line(error).rstrip('.')})"
            return Finding("result on the GPU", said, _FULL, True)
        text = str(error)
        if "cuda_bf16.h" in text or "could not open source file" in text or "Failed to find CUDA headers" in text:
            return Finding("result on the GPU", "CUDA's headers are missing", f'pip install -e ".[{extra}]"', True)
        again = f'pip install --force-reinstall -e ".[{extra}]"'
        return Finding("result on the GPU", f"kernels do not run ({first_line(error)})", again, True)
    found = " and ".join(f"{size:.0e} in {kind}" for kind, size in errors.items())
    if errors["float64"] < 1e-12 and errors["bfloat16"] < 0.1:
        return Finding("result on the GPU", f"a linear layer and a layer norm agree with NumPy's to {found}")
    return Finding("result on the GPU", f"differs from NumPy's by {found}", "report it: this is a bug", True)


def graph_finding(extra: str) -> Finding:
    """Whether `--graph auto` can record a training step."""
    from minivit.ops.cuda.graph import why_no_graph

    reason = why_no_graph()
    if reason is None:
        return Finding("CUDA graphs", f"nvmath-python {importlib.metadata.version('nvmath-python')}")
    if "memory does not suffice" in reason:
        return Finding("CUDA graphs", f"none ({reason.partition(';')[0]})", _FULL)
    return Finding(
        "CUDA graphs", f"none ({reason.partition(';')[0]}); --graph auto has no effect", f'pip install -e ".[{extra}]"'
    )


def _gpu_error(cupy: Any, kind: str) -> float:
    """The largest error of a linear layer and a layer norm of numbers of size 1, stored as `kind`."""
    from minivit.functions import layer_norm, linear
    from minivit.ops import choose_ops

    dtype = np.dtype(kind if kind == "float64" else importlib.import_module("ml_dtypes").bfloat16)
    rng, ops = np.random.default_rng(0), choose_ops("cuda", "cuda")
    x, w, g, b = (rng.standard_normal(shape).astype(dtype) for shape in ((5, 16), (16, 16), 16, 16))
    exact = [a.astype(np.float64) for a in (x, w, g, b)]
    expected = layer_norm(linear(exact[0], exact[1], exact[3])[0], exact[2], exact[3])[0]
    x, w, g, b = (cupy.asarray(a) for a in (x, w, g, b))
    found = ops.layer_norm(ops.linear(x, w, b)[0], g, b)[0].get()
    return float(np.abs(found.astype(np.float64) - expected).max())


def _dotted(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"
