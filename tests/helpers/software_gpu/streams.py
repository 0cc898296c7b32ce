"""Streams of the software GPU: work waits in a queue until somebody waits for it, as late as CUDA allows.

So a missing wait shows: what was queued has not happened yet. Legacy default stream and blocking streams wait for one
another, as CUDA has it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from helpers.software_gpu.calls import StatusError

DEFAULT = 0
_CAPTURE_UNSUPPORTED, _CAPTURE_IMPLICIT = 900, 906  # of cudaError_t
_NON_BLOCKING = 1  # cudaStreamNonBlocking


class Stream:
    """A queue. While it is recorded, work goes into the graph instead."""

    def __init__(self, blocking: bool = True) -> None:
        self.blocking = blocking
        self.queue: list[Callable[[], None]] = []
        self.done = 0  # of all that were ever queued
        self.graph: list[Callable[[], None]] | None = None

    def put(self, work: Callable[[], None]) -> None:
        self.queue.append(work)

    def run(self, upto: int | None = None) -> None:
        """Do what was queued, or what was until there were `upto`."""
        while self.queue and (upto is None or self.done < upto):
            work = self.queue.pop(0)
            self.done += 1
            try:
                work()
            except BaseException:  # after a fault a GPU does nothing more; memory of the host may be gone by then
                for stream in streams.values():
                    stream.done += len(stream.queue)
                    stream.queue.clear()
                raise

    def wait_for(self, other: Stream) -> None:
        """What is queued here from now on comes after what is queued there until now."""
        upto = other.done + len(other.queue)
        if other.queue:
            self.put(lambda: other.run(upto))


streams: dict[int, Stream] = {DEFAULT: Stream()}
waits = {"host": 0}  # how often the host waited


def create(flags: int) -> int:
    number = 0x5000 + 16 * len(streams)
    streams[number] = Stream(blocking=not flags & _NON_BLOCKING)
    return number


def get(number: int | None) -> Stream:
    return streams[0 if number in (None, 1, 2) else number]  # 1, 2: the default stream by other names


def queue(number: int | None, work: Callable[[], None]) -> None:
    """Work for a stream: recorded, if the stream is."""
    stream = get(number)
    if stream.graph is not None:
        stream.graph.append(work)
        return
    if stream is streams[DEFAULT] and any(s.blocking and s.graph is not None for s in streams.values()):
        raise StatusError(_CAPTURE_IMPLICIT)  # it would have to wait for what is only recorded
    if stream.blocking:
        others = [s for s in streams.values() if s.blocking and s is not stream]
        for other in others if stream is streams[DEFAULT] else [streams[DEFAULT]]:
            stream.wait_for(other)
    stream.put(work)


def synchronize(number: int | None = None) -> None:
    """The host waits for one stream."""
    waits["host"] += 1
    get(number).run()


def synchronize_all() -> None:
    waits["host"] += 1
    for stream in list(streams.values()):
        stream.run()


def refuse_recording() -> None:
    """What the host waits for cannot be recorded. Raises StatusError while a stream is."""
    if any(s.graph is not None for s in streams.values()):
        raise StatusError(_CAPTURE_UNSUPPORTED)


class Event:
    """A mark in a stream, with the time at which it was last reached."""

    seconds = 0.0

    def __init__(self) -> None:
        self.at: tuple[Stream, int] | None = None

    def record(self, number: int | None) -> None:
        stream = get(number)

        def reach() -> None:
            self.seconds = time.perf_counter()

        queue(number, reach)
        self.at = stream, stream.done + len(stream.queue)

    def reached(self) -> bool:
        """Whether everything up to the mark is done; so it is of one that was never set."""
        return not self.at or self.at[0].done >= self.at[1]

    def up_to_here(self) -> Callable[[], None]:
        """The work that leads to the mark where it is now: it may be set anew before that is done."""
        if not self.at:
            return lambda: None
        stream, upto = self.at
        return lambda: stream.run(upto)
