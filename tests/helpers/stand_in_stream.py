"""Streams of the stand-in for CuPy: what waits, and what is recorded as a graph."""

from __future__ import annotations

import time
from typing import Any

import numpy as np


class Recorder:
    """What a stream records between begin_capture and end_capture: nothing is executed then, on a GPU."""

    work: list[Any] | None = None

    def refuse(self, what: str) -> None:
        """Raise RuntimeError if a graph is being recorded, as no graph can hold `what`."""
        if self.work is not None:
            raise RuntimeError(f"cudaErrorStreamCaptureUnsupported: {what} while a stream is recorded")

    def do(self, action: Any) -> None:
        """Execute, or record."""
        if self.work is None:
            action()
        else:
            self.work.append(action)

    def result(self, function: Any, inputs: list[Any]) -> Any:
        """What `function` gives for `inputs`; recorded, if it is an array of its own and not a view."""
        if self.work is None:
            return function()
        with np.errstate(all="ignore"):  # nothing is computed yet: only its shape and type matter
            found = function()
        if isinstance(found, np.ndarray | np.generic):
            found = np.asarray(found)
            if not any(isinstance(x, np.ndarray) and np.shares_memory(x, found) for x in inputs):
                self.work.append(lambda: np.copyto(found, function()))
        return found


recorder = Recorder()


class Waits:
    """How often the host waited for the device, or read from it."""

    count = 0


def synchronize() -> None:
    recorder.refuse("waiting")
    Waits.count += 1


class RecordedGraph:
    """What was recorded, to be launched again and again."""

    def __init__(self, work: list[Any]) -> None:
        self.work, self.launches = work, 0

    def launch(self, stream: Any = None) -> None:
        self.launches += 1
        for action in self.work:
            action()


class Stream:
    """A queue of work."""

    ptr = 7

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: Any) -> None:
        pass

    def begin_capture(self) -> None:
        recorder.work = []

    def end_capture(self) -> RecordedGraph:
        work, recorder.work = recorder.work, None
        return RecordedGraph(work or [])

    def synchronize(self) -> None:
        synchronize()


class Event:
    """A mark in the queue, with the time at which it was reached."""

    seconds = 0.0

    def record(self) -> None:
        self.seconds = time.perf_counter()

    def synchronize(self) -> None:
        synchronize()


def get_elapsed_time(start: Event, end: Event) -> float:
    """Milliseconds between two marks."""
    return 1e3 * (end.seconds - start.seconds)
