"""Which functions compute: the fastest there are, or those that are asked for."""

import os
import subprocess
import sys

import pytest

from minivit.errors import MinivitError
from minivit.ops import choose_ops, reference


def test_the_reference_can_always_be_asked_for():
    assert choose_ops("reference") is reference
    assert choose_ops("reference", "cuda") is reference


def test_on_a_gpu_the_fused_ones():
    assert choose_ops("auto", "cuda").__name__ == choose_ops("cuda", "cuda").__name__ == "minivit.ops.cuda"
    with pytest.raises(MinivitError, match="ops 'cuda' runs on an NVIDIA GPU, but the device is 'cpu'"):
        choose_ops("cuda")


def test_the_compiled_ones_are_chosen_where_numba_is():
    pytest.importorskip("numba")
    assert choose_ops().__name__ == choose_ops("cpu").__name__ == "minivit.ops.cpu"


def test_without_numba_the_readable_ones(monkeypatch):
    """Nor with a Numba that cannot be imported, because NumPy is too new for it, say."""
    for name in [name for name in sys.modules if name.startswith(("minivit.ops.cpu", "minivit.ops.kernels"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "numba", None)
    assert choose_ops() is reference
    with pytest.raises(
        MinivitError, match=r"ops 'cpu' needs Numba, which cannot be imported.*pip install -e \"\.\[fast\]\""
    ):
        choose_ops("cpu")


def test_what_cannot_be():
    with pytest.raises(MinivitError, match="ops 'gpu' is not known; expected one of 'auto', 'cpu', 'cuda', 'ref"):
        choose_ops("gpu")
    with pytest.raises(MinivitError, match="ops 'cpu' runs on the CPU, but the device is 'cuda'"):
        choose_ops("cpu", "cuda")


def test_where_numba_is_told_to_compile_nothing_the_readable_ones():
    program = "from minivit.ops import choose_ops; print(choose_ops().__name__)"
    settings = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run([sys.executable, "-c", program], env=settings, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.strip() == "minivit.ops.reference"
