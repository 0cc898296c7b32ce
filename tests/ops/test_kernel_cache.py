"""Kernels are kept on disk as machine code, and compiled anew where any file that they are made of has changed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import minivit

CALL = """
import numpy as np
from minivit.ops.kernels import attention
x = np.array([[0.0, 1.0]])
attention.softmax_rows(x, 1.0)
print(x[0, 1])
"""


@pytest.fixture
def copied(tmp_path):
    shutil.copytree(Path(minivit.__file__).parent, tmp_path / "minivit", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_a_change_of_what_a_kernel_calls_is_seen(copied):
    pytest.importorskip("numba")

    def result():
        others = [path] if (path := os.environ.get("PYTHONPATH")) else []
        paths = {"PYTHONPATH": os.pathsep.join([str(copied), *others]), "NUMBA_CACHE_DIR": str(copied / "kept")}
        found = subprocess.run(
            [sys.executable, "-c", CALL], env=os.environ | paths, capture_output=True, text=True, check=True, cwd=copied
        )
        return float(found.stdout)

    assert result() == pytest.approx(0.7310585786)
    kept = sorted((copied / "kept").rglob("*.nbc"))
    assert len(kept) == 1
    assert result() == pytest.approx(0.7310585786)
    assert sorted((copied / "kept").rglob("*.nbc")) == kept, "nothing is compiled twice"
    elementary = copied / "minivit" / "ops" / "kernels" / "elementary.py"
    whole = elementary.read_text()
    assert whole.count("return math.exp(x)") == 1
    elementary.write_text(whole.replace("return math.exp(x)", "return math.exp(2.0 * x)"))
    assert result() == pytest.approx(0.880797078)
