"""Threads: a batch is cut into parts, and every core computes one part after another.

A matrix library's own threads share out each product, and wait for one another after each; what lies between
the products runs on one core. Parts of a batch never wait: each thread takes its images through the whole
model, with a matrix library that uses one thread. The parts do not depend on the number of threads, so
neither does any result.
"""

from __future__ import annotations

import contextvars
import functools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from threadpoolctl import ThreadpoolController

Result = TypeVar("Result")

_in_a_part: contextvars.ContextVar[bool] = contextvars.ContextVar("in_a_part", default=False)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_parts(function: Callable[[int], Result], parts: int, threads: int = 0) -> Iterator[Result]:
    """function(0), function(1), ... function(parts - 1), computed on `threads` threads (0: all), in this order.

    No more than one part beyond those being computed is waiting for the reader at any time. NumPy's error
    settings hold inside. An exception is raised where its result would be. Parts of a part are computed one
    after another, on the thread of that part.
    """
    threads = 1 if _in_a_part.get() else min(threads or cores(), parts)
    with _one_blas_thread:
        if threads < 2:
            yield from map(function, range(parts))
            return
        waiting: deque[Future[Result]] = deque()
        pool, todo = _pool(threads), iter(range(parts))
        try:
            for i in todo:
                waiting.append(pool.submit(contextvars.copy_context().run, _part, function, i))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:  # after an exception: let go of what has not begun, wait for what has
                future.cancel()
            for future in waiting:
                if not future.cancelled():
                    future.exception()


def _part(function: Callable[[int], Result], i: int) -> Result:
    _in_a_part.set(True)  # in a context of its own; threads that waited for parts of parts would leave none for these
    return function(i)


class _OneBlasThread:
    """Inside, the matrix library uses one thread.

    Its number of threads is the whole process's: the first that comes in sets it, the last that leaves sets it back.
    """

    def __init__(self) -> None:
        self.lock, self.inside = threading.Lock(), 0
        self.limit: Any = None

    def __enter__(self) -> None:
        with self.lock:
            if self.inside == 0:
                self.limit = _controller().limit(limits=1, user_api="blas")
            self.inside += 1

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.inside -= 1
            if self.inside == 0:
                self.limit.restore_original_limits()


_one_blas_thread = _OneBlasThread()


@functools.cache
def _controller() -> ThreadpoolController:
    """What limits the matrix library; looking for the loaded libraries takes milliseconds, so once."""
    return ThreadpoolController()


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="minivit")
