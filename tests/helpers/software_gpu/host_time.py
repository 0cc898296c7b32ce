"""What the host does for a training step on a GPU: the calls it makes, and the time that CuPy and minivit take.

    PYTHONPATH=tests python -m helpers.software_gpu.host_time --precision bfloat16

NVIDIA's functions answer at once, so their own time is not in it: on a GPU, `minivit bench --device cuda` measures the
whole ("host, to queue a step"). Of a large model the parameters alone take memory.
"""

from __future__ import annotations

import argparse
import statistics
import time

from helpers.software_gpu import start
from helpers.software_gpu.calls import at_once, calls

# What a step calls, and which parameter is where an answer goes, if any.
_IN_A_STEP = {
    "cudaGetDevice": 1, "cudaSetDevice": 0, "cudaStreamIsCapturing": 2, "cudaMemsetAsync": 0, "cudaMemcpyAsync": 0,
    "cuLaunchKernel": 0, "cublasGemmEx": 0, "cublasGemmStridedBatchedEx": 0, "cublasSetStream_v2": 0,
    "cublasGetMathMode": 2, "cublasSetMathMode": 0,
}  # fmt: skip


def measure(
    width: int, depth: int, heads: int, precision: str, dropout: float, rounds: int
) -> tuple[dict[str, int], float, float]:
    """The calls of a step, and seconds to queue one: the median and the smallest of `rounds`."""
    from minivit.bench.ours import ours
    from minivit.bench.workload import Workload
    from minivit.model import ViTConfig
    from minivit.training.settings import TrainSettings

    config = ViTConfig(width=width, depth=depth, heads=heads, dropout=dropout)
    side = ours(Workload(config, 8, TrainSettings(precision=precision), "cuda"))  # type: ignore[arg-type]
    for _ in range(2):  # compiles, and fills the memory pool
        side.queue()
    calls.clear()
    side.queue()
    found = dict(calls)
    at_once(_IN_A_STEP)
    seconds = []
    for _ in range(rounds):
        begin = time.perf_counter()
        side.queue()
        seconds.append(time.perf_counter() - begin)
    assert dict(calls) == found, "a step calls what does not answer at once"
    return found, statistics.median(seconds), min(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("width", 384), ("depth", 7), ("heads", 6), ("rounds", 300)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--precision", default="bfloat16")
    parser.add_argument("--dropout", type=float, default=0.0)
    found, median, least = measure(**vars(parser.parse_args()))
    for name, times in sorted(found.items(), key=lambda x: -x[1]):
        print(f"{times:6} {name}")
    print(f"{1e3 * median:9.2f} ms to queue a step, the median; {1e3 * least:.2f} ms the smallest")


if __name__ == "__main__":
    start(works=False)
    main()
