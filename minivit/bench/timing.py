"""Time, measured so that it can be compared: medians, and ratios of runs that took turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

Run = Callable[[], object]


def seconds_of(run: Run) -> float:
    """Seconds of one run."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _warm_up(run: Run) -> None:
    """Two runs: the first compiles and fills memory, and a step that is recorded as a graph is in the second."""
    run()
    run()


def keep_busy(run: Run, seconds: float) -> None:
    """Run for so long: a GPU that has rested computes at a fraction of its clock at first."""
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        run()


def median_seconds(run: Run, rounds: int) -> float:
    """The median of `rounds` runs, after some that are not counted."""
    _warm_up(run)
    return statistics.median(seconds_of(run) for _ in range(rounds))


def median_ratio(ours: Run, theirs: Run, rounds: int) -> tuple[float, float, float]:
    """Medians (ours, theirs, ours / theirs) of `rounds` pairs; who goes first changes from pair to pair.

    The ratio is the median of the pairs' ratios: what slows the machine for a while slows both of a pair.
    """
    _warm_up(ours)
    _warm_up(theirs)
    pairs = []
    for i in range(rounds):
        first, second = (ours, theirs) if i % 2 == 0 else (theirs, ours)
        one, two = seconds_of(first), seconds_of(second)
        pairs.append((one, two) if i % 2 == 0 else (two, one))
    return (
        statistics.median(a for a, _ in pairs),
        statistics.median(b for _, b in pairs),
        statistics.median(a / b for a, b in pairs),
    )
