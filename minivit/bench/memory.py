"""Peak memory of a training step: a process of its own takes two steps and tells how far its memory grew.

The process is given minivit or torch as its argument, and the workload as JSON on standard input.
"""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

from minivit.bench.workload import Workload
from minivit.model import ViTConfig
from minivit.training.settings import TrainSettings

_ROOT = Path(__file__).resolve().parents[2]


def peak_megabytes(workload: Workload, who: str) -> float:
    """Growth of the resident memory in MiB, over what the imports take, for "minivit" or "torch"."""
    described = {
        "config": dataclasses.asdict(workload.config),
        "batch": workload.batch,
        "settings": dataclasses.asdict(workload.settings),
    }
    # -P: files beside somebody who measures must not stand for Python's own. This minivit is measured, and no other.
    first = f"import sys; sys.path.insert(0, {str(_ROOT)!r}); import minivit; sys.path.remove({str(_ROOT)!r})"
    program = f"{first}; from minivit.bench.memory import main; main()"
    command = [sys.executable, "-P", "-c", program, who]
    done = subprocess.run(command, input=json.dumps(described), capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    """The process that is measured."""
    from minivit.memory import keep_freed_memory

    described = json.load(sys.stdin)
    config = ViTConfig(**described["config"])
    workload = Workload(config, described["batch"], TrainSettings(**described["settings"]))
    tiny = workload._replace(config=config.replace(depth=1), batch=1)
    keep_freed_memory()
    _side(tiny, sys.argv[1])  # loads and compiles what a step needs
    before = _peak()
    _side(workload, sys.argv[1])
    print(_peak() - before)


def _side(workload: Workload, who: str) -> None:
    if who == "torch":
        from minivit.bench.theirs import theirs

        step = theirs(workload).step
    else:
        from minivit.bench.ours import ours

        step = ours(workload).step
    for _ in range(2):
        step()


def _peak() -> float:
    """The most resident memory so far, in MiB. getrusage would count the process that this one was forked from."""
    status = Path("/proc/self/status")
    if status.exists():
        return float(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) / 2**10  # type: ignore[index]
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
