"""The stand-in for CuPy is as strict as CuPy, and has nothing that CuPy lacks."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from helpers.stand_in import DTYPES, FUNCTIONS, module, ndarray
from helpers.stand_in_blas import gemm_ex, gemm_strided_batched_ex
from helpers.stand_in_stream import Stream, Waits

from minivit import functions as fn
from minivit.arrays import array_module


def test_it_has_no_function_that_cupy_lacks() -> None:
    cupy = pytest.importorskip("cupy", reason="needs CuPy, but no GPU", exc_type=ImportError)
    assert [name for name in (*FUNCTIONS, *DTYPES, "asarray", "array", "RawModule") if not hasattr(cupy, name)] == []
    methods = [name for name in vars(ndarray) if not name.startswith("_")]
    assert [name for name in methods if not hasattr(cupy.ndarray, name)] == []


@pytest.mark.parametrize(
    ("library", "names"),
    [("cupy_backends.cuda.libs.cublas", ("gemmEx", "gemmStridedBatchedEx")),
     ("nvmath.bindings.cublas", ("gemm_ex", "gemm_strided_batched_ex"))],
)  # fmt: skip
def test_its_products_take_what_the_libraries_take(library: str, names: tuple[str, str]) -> None:
    theirs = pytest.importorskip(library, reason="needs the library, but no GPU", exc_type=ImportError)
    for name, ours in zip(names, (gemm_ex, gemm_strided_batched_ex), strict=True):
        said = getattr(theirs, name).__doc__.splitlines()[0].partition("(")[2].rstrip(")")
        taken = [parameter.split()[-1].lower().replace("_", "") for parameter in said.split(",")]
        offered = [parameter.replace("_", "") for parameter in inspect.signature(ours).parameters]
        renamed = {"count": "batchcount", "compute": "computetype", "algorithm": "algo"}
        assert taken == [renamed.get(name, name) for name in offered]


def test_no_graph_holds_a_product_by_cupys_own_cublas() -> None:
    x, stream = module.ones((2, 2)), Stream()
    stream.begin_capture()
    try:
        with pytest.raises(RuntimeError, match="StreamCaptureUnsupported: a product"):
            x @ x
        x + x
    finally:
        stream.end_capture()
    x @ x


def test_it_refuses_to_mix_with_numpy() -> None:
    x, y = module.asarray(np.ones(3)), np.ones(3)
    for mixed in (lambda: x + y, lambda: y + x, lambda: module.sum(y), lambda: np.asarray(x)):
        with pytest.raises(TypeError):
            mixed()


def test_it_counts_what_the_host_reads() -> None:
    x, before = module.asarray(np.ones(3)), Waits.count
    (x * 2 + x).sum()
    assert Waits.count == before
    float(x.sum())
    x.get()
    assert Waits.count == before + 2


def test_numpy_and_the_device_side_by_side(xp: object) -> None:
    """The readable functions run where their arguments are, in one process."""
    x = np.random.default_rng(0).standard_normal((2, 3, 4))
    on_device = xp.asarray(x)  # type: ignore[attr-defined]
    for f in (fn.softmax, fn.gelu):
        host, (device, _) = f(x)[0], f(on_device)
        assert array_module(host) is np
        assert array_module(device) is xp
        np.testing.assert_allclose(device.get(), host, rtol=1e-13)
