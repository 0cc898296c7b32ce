"""Matrix products by cuBLAS: every layout of the operands, read where they lie."""

from __future__ import annotations

import contextlib
import types
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from minivit.ops.cuda.products import Gemm, _operand, exact_products, product, products, products_by

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
# Relative L2 error against float64. float32 here is computed exactly.
TOLERANCE = {np.dtype(np.float64): 1e-12, np.dtype(np.float32): 2e-6, BFLOAT16: 2e-2}
every_dtype = pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)


def error(found: Any, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found.get().astype(np.float64) - expected) / max(np.linalg.norm(expected), 1e-300))


@every_dtype
@pytest.mark.parametrize(("m", "inner", "n"), [(3, 5, 4), (1, 5, 4), (3, 1, 4), (3, 5, 1), (1, 1, 1)])
def test_products_of_every_layout(xp: Any, dtype: np.dtype, m: int, inner: int, n: int) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((m, inner)).astype(dtype), rng.standard_normal((inner, n)).astype(dtype)
    expected = a.astype(np.float64) @ b.astype(np.float64)
    with exact_products():
        for left in (xp.asarray(a), xp.asarray(np.ascontiguousarray(a.T)).T):
            for right in (xp.asarray(b), xp.asarray(np.ascontiguousarray(b.T)).T):
                assert error(product(left, right), expected) < TOLERANCE[dtype]
                if dtype == BFLOAT16:
                    wide = product(left, right, np.float32)
                    assert wide.dtype == np.float32
                    assert error(wide, expected) < 1e-6


def test_products_of_views_into_larger_arrays(xp: Any) -> None:
    rng = np.random.default_rng(0)
    a, b, c = rng.standard_normal((4, 5, 9)), rng.standard_normal((4, 6, 12)), np.zeros((4, 5, 8))
    device = [xp.asarray(x) for x in (a, b, c)]
    products(device[0][:, :, 2:5], device[1][:, :, 3:6].transpose(0, 2, 1), device[2][:, :, :6])
    expected = a[:, :, 2:5] @ b[:, :, 3:6].transpose(0, 2, 1)
    np.testing.assert_allclose(device[2].get()[:, :, :6], expected, rtol=1e-13)
    assert not device[2].get()[:, :, 6:].any()


def test_one_matrix_goes_where_its_sum_may_be_split(xp: Any) -> None:
    asked: list[str] = []
    gemm = Gemm(lambda *_: asked.append("single"), lambda *_: asked.append("stack"), 0)
    with products_by(gemm):
        for shape in ((4, 4), (1, 4, 4), (2, 4, 4)):
            products(*(xp.zeros(shape) for _ in range(3)))
    assert asked == ["single", "single", "stack"]


def test_products_refuse_what_does_not_fit(xp: Any) -> None:
    a = xp.zeros((2, 3, 4))
    with pytest.raises(ValueError, match=r"products: a \(2, 3, 4\), b \(2, 3, 4\)"):
        products(a, a, a)
    with pytest.raises(ValueError, match=r"products: a \(1, 2, 3, 4\)"):
        products(a[None], xp.zeros((1, 2, 4, 3)), xp.zeros((1, 2, 3, 3)))
    with pytest.raises(ValueError, match="no unit stride"):
        product(xp.zeros((4, 6))[::2, ::2], xp.zeros((3, 3)))
    with pytest.raises(ValueError, match=r"c .* is transposed"):
        products(a, xp.zeros((2, 4, 3)), xp.zeros((2, 5, 3)).transpose(0, 2, 1)[:, :, :3])


def test_how_others_multiply_is_as_before(xp: Any) -> None:
    """CuPy's own products, after whatever happened inside."""
    handle = xp.cuda.device.get_cublas_handle()
    before = xp.cuda.cublas.getMathMode(handle), xp._core.get_compute_type(np.float32)
    inside = []
    with contextlib.suppress(KeyError), exact_products(False):
        inside.append(xp.cuda.cublas.getMathMode(handle))
        with exact_products():
            inside.append(xp.cuda.cublas.getMathMode(handle))
        inside.append(xp.cuda.cublas.getMathMode(handle))
        raise KeyError
    assert inside == [3, 0, 3]
    assert (xp.cuda.cublas.getMathMode(handle), xp._core.get_compute_type(np.float32)) == before


def test_rows_that_overlap_are_no_matrix(xp: Any) -> None:
    view = types.SimpleNamespace(itemsize=4, dtype=np.dtype(np.float32), data=types.SimpleNamespace(ptr=0))
    view.shape = (3, 4)
    for strides, fine in (((16, 4), True), ((8, 4), False), ((4, 8), False), ((4, 12), True), ((8, 8), False)):
        view.strides = strides
        if fine:
            _operand(view)
        else:
            with pytest.raises(ValueError, match="has no unit stride"):
                _operand(view)
