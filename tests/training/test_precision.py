"""What each precision means on each device."""

import numpy as np
import pytest

from minivit.errors import MinivitError
from minivit.training.precision import choose_precision


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
