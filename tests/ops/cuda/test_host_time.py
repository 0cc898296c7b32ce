"""What the host does for a step on a GPU: so many launches and products for each block."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import software_gpu

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("precision", "launches", "stacks", "ends"), [("bfloat16", 20, 0, 32), ("float32", 22, 12, 31)]
)
def test_calls_of_a_step(precision: str, launches: int, stacks: int, ends: int) -> None:
    """Without tiles (float32) attention multiplies stacks of matrices, six for each head."""
    if not software_gpu.started():
        pytest.skip("a count of the software GPU: pytest -m gpu --software-gpu")
    paths = os.pathsep.join([str(ROOT / "tests"), str(ROOT), os.environ.get("PYTHONPATH", "")])
    counts = []
    for depth in (2, 3):
        words = ["-m", "helpers.software_gpu.host_time", "--width", "32", "--heads", "2", "--depth", str(depth)]
        said = subprocess.run(
            [sys.executable, *words, "--rounds", "2", "--precision", precision],
            env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        assert re.search(r"\d\.\d\d ms to queue a step, the median", said)
        counts.append({name: int(count) for count, name in re.findall(r"^ *(\d+) (\w+)$", said, re.MULTILINE)})
    two, three = counts
    for name, each in (("cuLaunchKernel", launches), ("cublasGemmEx", 12), ("cublasGemmStridedBatchedEx", stacks)):
        assert three.get(name, 0) - two.get(name, 0) == each, name
    assert two["cuLaunchKernel"] - 2 * launches == ends, "of what is not in a block"
    assert two["cublasGemmEx"] - 2 * 12 == 6
