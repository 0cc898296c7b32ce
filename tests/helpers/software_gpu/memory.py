"""Memory of the software GPU: one piece of the host's, of which parts are given away."""

from __future__ import annotations

import bisect
import ctypes
from typing import Any

import numpy as np

from helpers.ptx.memory import Index, KernelError, Threads

SIZE = 4 * 2**30  # of the GPU; the host only gives what is written
ALIGNMENT = 512  # of cudaMalloc


class Arena:
    """Parts by their addresses, apart from one another, so that who leaves one does not come into the next."""

    def __init__(self) -> None:
        self.bytes, self.limit = np.empty(SIZE, np.uint8), SIZE  # a test may leave less to be given
        self.given = 0  # bytes
        self.base = int(self.bytes.ctypes.data)
        self.next = -self.base % ALIGNMENT
        self.sizes: dict[int, int] = {}
        self.free: list[tuple[int, int]] = []
        self._ends: tuple[Index, Index] | None = None

    def allocate(self, size: int) -> int | None:
        """The address of `size` bytes, None if there are no more."""
        room = _room(size)
        if self.given + room > self.limit:  # a GPU's pages are put together from anywhere: the sum counts
            return None
        for i, (at, has) in enumerate(self.free):
            if has >= room:
                del self.free[i]
                if has > room:
                    bisect.insort(self.free, (at + room, has - room))
                break
        else:
            if self.next + room > SIZE:
                return None
            at, self.next = self.next, self.next + room
        self.sizes[self.base + at] = size
        self.given += room
        self._ends = None
        return self.base + at

    def release(self, address: int) -> None:
        size = self.sizes.pop(address)  # KeyError: nothing begins there
        self.given -= _room(size)
        bisect.insort(self.free, (address - self.base, _room(size)))
        self._ends = None

    def parts(self) -> tuple[Index, Index]:
        """Where every part begins and ends."""
        if self._ends is None:
            starts = np.array(sorted(self.sizes), np.int64)
            self._ends = starts, starts + np.array([self.sizes[int(s)] for s in starts], np.int64)
        return self._ends

    def contains(self, address: int) -> bool:
        return self.base <= address < self.base + SIZE

    def demand(self, address: int, size: int, what: str, elsewhere: bool = True) -> None:
        """Raise KernelError where `size` bytes leave the part they begin in; on the host they may be `elsewhere`."""
        if size and (self.contains(address) or not elsewhere):
            inside(self, np.array([address]), size, lambda _: what)


def _room(size: int) -> int:
    """What is taken for `size` bytes: a gap behind them, so that who leaves them does not come into the next."""
    room = max(size, 1) + ALIGNMENT
    return room + -room % ALIGNMENT


def inside(arena: Arena, address: Index, size: int, who: Any) -> None:
    """Raise KernelError where `size` bytes from an address on are not within one part."""
    starts, ends = arena.parts()
    which = np.maximum(np.searchsorted(starts, address, side="right") - 1, 0)
    fine = (address >= starts[which]) & (address + size <= ends[which]) if len(starts) else np.zeros(len(address), bool)
    if not fine.all():
        bad = int(np.flatnonzero(~fine)[0])
        raise KernelError(f"{who(bad)}: {size} bytes at {int(address[bad]):#x}, which nobody was given")


class Device:
    """What a kernel sees of it: reads and writes of all threads at once, within what is given."""

    def __init__(self, arena: Arena, threads: Threads) -> None:
        self.arena, self.bytes, self.threads = arena, arena.bytes, threads

    def locate(self, address: Index, size: int, who: Index, verb: str) -> Index:
        """Where in `bytes` each address is."""
        if (address % size).any():
            raise KernelError(f"{verb} {size} bytes at an address that is no multiple of {size}")
        inside(self.arena, address, size, lambda i: f"{self.threads.name(int(who[i]))} {verb}")
        return address - self.arena.base

    def read(self, at: Index, count: int, dtype: Any, who: Index) -> np.ndarray:
        """`count` numbers from byte `at` on, for each thread: (threads, count)."""
        return self._numbers(dtype)[at[:, None] // np.dtype(dtype).itemsize + np.arange(count)]

    def write(self, at: Index, values: np.ndarray, who: Index) -> None:
        """values (threads, count) from byte `at` on."""
        self._numbers(values.dtype)[at[:, None] // values.itemsize + np.arange(values.shape[1])] = values

    def _numbers(self, dtype: Any) -> np.ndarray:
        return self.bytes.view(dtype)


arena = Arena()


def copy(into: int, source: int, size: int) -> None:
    arena.demand(into, size, "a copy to")
    arena.demand(source, size, "a copy from")
    ctypes.memmove(into, source, size)
