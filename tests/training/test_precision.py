"""What each precision means on each device."""

import sys

import numpy as np
import pytest

from minivit.errors import MinivitError
from minivit.training.precision import choose_precision, multiplied


@pytest.mark.parametrize(
    ("wanted", "device", "storage", "exact"),
    [
        ("auto", "cpu", "float32", True),
        ("float32", "cpu", "float32", True),
        ("auto", "cuda", "float32", False),
        ("tf32", "cuda", "float32", False),
        ("float32", "cuda", "float32", True),
        ("bfloat16", "cuda", "bfloat16", False),
    ],
)
def test_choice(wanted, device, storage, exact):
    pytest.importorskip("ml_dtypes")
    precision = choose_precision(wanted, device)
    assert (np.dtype(precision.storage).name, precision.exact) == (storage, exact)


def test_refusals():
    with pytest.raises(MinivitError, match="precision 'bfloat16' needs an NVIDIA GPU, but the device is 'cpu'"):
        choose_precision("bfloat16", "cpu")
    with pytest.raises(MinivitError, match="needs the fused functions, but ops is 'reference'"):
        choose_precision("bfloat16", "cuda", "reference")


def test_bfloat16_without_its_type(monkeypatch):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(MinivitError, match=r"needs ml_dtypes, which cannot be imported .*; pip install ml_dtypes"):
        choose_precision("bfloat16", "cuda")


@pytest.mark.parametrize(
    ("precision", "low", "high"), [("auto", 1e-5, 2e-3), ("tf32", 1e-5, 2e-3), ("float32", 0, 1e-6)]
)
def test_the_readable_functions_are_multiplied_so_too(xp, precision, low, high):
    """Matrices and stacks of matrices, of which CuPy computes each its own way; as before outside."""
    rng = np.random.default_rng(0)
    for shape in ((5, 40), (3, 5, 40)):
        a, b = (rng.standard_normal(shape).astype(np.float32) for _ in range(2))
        exact = a.astype(float) @ np.moveaxis(b, -1, -2).astype(float)
        with multiplied(precision, "cuda", "reference"):
            found = (xp.asarray(a) @ xp.moveaxis(xp.asarray(b), -1, -2)).get()
        assert low <= np.linalg.norm(found - exact) / np.linalg.norm(exact) < high
        again = (xp.asarray(a) @ xp.moveaxis(xp.asarray(b), -1, -2)).get()
        assert np.linalg.norm(again - exact) / np.linalg.norm(exact) < 1e-6


def test_on_the_cpu_nothing_is_switched():
    with multiplied("auto", "cpu") as nothing:
        assert nothing is None
