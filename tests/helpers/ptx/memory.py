"""Memory that is watched: an access is within bounds, aligned, of something written, and ordered by barriers.

(Of something written: in shared and local memory. Arrays of the host count as written.)

What NVIDIA's compute-sanitizer looks for on a GPU (memcheck, initcheck, racecheck), for every run of a kernel.

Two accesses of one place, one of which writes, are in order if one thread does both, or if between them the threads
of a block have met at a barrier of the block, or those of a warp at one of the warp. Nothing else orders them: that
the instructions came in a certain order here says nothing of a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

WARP = 32
Index = np.ndarray[Any, np.dtype[np.int64]]


class KernelError(RuntimeError):
    """A kernel does what on a GPU would crash, or give numbers that nobody can foresee."""


class Threads:
    """Who is where: the block of each thread, its warp, and the barriers that it has come past."""

    def __init__(self, blocks: int, block: int) -> None:
        self.count, self.size = blocks * block, block
        everyone = np.arange(self.count)
        self.block, self.warp = everyone // block, everyone // block * -(-block // WARP) + everyone % block // WARP
        self.passed = np.zeros((2, self.count), np.int64)  # barriers of the block, of the warp

    def distance(self, a: Index, b: Index) -> Index:
        """0 for one thread, 1 for two of a warp, 2 of a block, 3 else."""
        return (a != b).astype(np.int64) + (self.warp[a] != self.warp[b]) + (self.block[a] != self.block[b])

    def name(self, thread: int) -> str:
        return f"thread {thread % self.size} of block {self.block[thread]}"


class _Marks:
    """Who came to each cell last, and when. Of several who came in no order, how far apart they were."""

    def __init__(self, cells: int, threads: Threads) -> None:
        self.threads = threads
        self.who = np.full(cells, -1, np.int64)
        self.when = np.zeros((2, cells), np.int64)
        self.spread = np.zeros(cells, np.int64)

    def before(self, cells: Index, who: Index) -> Any:
        """Whether all who came to the cells did so in order before what the threads `who` do now."""
        last = self.who[cells]
        distance = np.maximum(self.spread[cells], self.threads.distance(np.maximum(last, 0), who))
        block, warp = (self.when[i, cells] < self.threads.passed[i, who] for i in range(2))
        return (last < 0) | (distance == 0) | (distance <= 1) & (warp | block) | (distance == 2) & block

    def come(self, cells: Index, who: Index) -> Index:
        """The threads come to the cells; returns for each how far apart it is from others who do so at once."""
        earlier = np.maximum(self.spread[cells], self.threads.distance(np.maximum(self.who[cells], 0), who))
        spread = np.where(self.before(cells, who), 0, earlier)
        self.who[cells] = who
        self.when[:, cells] = self.threads.passed[:, who]
        together = self.threads.distance(self.who[cells], who)
        spread = np.maximum(spread, together)
        self.spread[cells] = 0
        for d in (1, 2, 3):  # the largest of those who came at once
            self.spread[cells[spread == d]] = d
        return together


class Memory:
    """Bytes, watched in cells of so many."""

    def __init__(self, name: str, data: np.ndarray, cell: int, threads: Threads, known: bool) -> None:
        self.name, self.bytes, self.cell, self.threads = name, data, cell, threads
        cells = -(-len(data) // cell)
        self.known = np.full(cells, known)
        self.expected = np.zeros(cells, bool)  # what a copy that is on its way will be written to
        self.reads, self.writes = _Marks(cells, threads), _Marks(cells, threads)
        self.count: Callable[[Threads, Index, int, Index], None] = lambda *_: None  # of accesses: see traffic.py

    def read(self, at: Index, count: int, dtype: Any, who: Index) -> np.ndarray:
        """`count` numbers from byte `at` on, for each thread: (threads, count)."""
        self.count(self.threads, at, count * np.dtype(dtype).itemsize, who)
        cells, whose = self._cells(at, count * np.dtype(dtype).itemsize, who)
        self._demand(self.known[cells], whose, "reads what nobody has written")
        self._demand(
            self.writes.before(cells, whose), whose, "reads what another thread writes, with no barrier between"
        )
        self.reads.come(cells, whose)
        return self.bytes.view(dtype)[self._numbers(at, count, dtype)]

    def write(self, at: Index, values: np.ndarray, who: Index) -> None:
        """values (threads, count) from byte `at` on."""
        self.claim(at, values.shape[1] * values.itemsize, who)
        self.bytes.view(values.dtype)[self._numbers(at, values.shape[1], values.dtype)] = values

    def arrive(self, at: Index, values: np.ndarray, who: Index) -> None:
        """As `write`, of copies that were on their way."""
        self.expected[self._cells(at, values.shape[1] * values.itemsize, who)[0]] = False
        self.write(at, values, who)

    def claim(self, at: Index, size: int, who: Index, known: bool = True) -> None:
        """The threads write here: now, or (not yet known) at some time from now on."""
        self.count(self.threads, at, size, who)
        cells, whose = self._cells(at, size, who)
        self._demand(
            self.reads.before(cells, whose), whose, "writes what another thread reads, with no barrier between"
        )
        self._demand(
            self.writes.before(cells, whose), whose, "writes where another thread writes, with no barrier between"
        )
        self._demand(self.writes.come(cells, whose) == 0, whose, "writes where another thread writes at the same time")
        self._demand(~self.expected[cells], whose, "writes where a copy is on its way to")
        self.known[cells], self.expected[cells] = known, not known

    def _cells(self, at: Index, size: int, who: Index) -> tuple[Index, Index]:
        each = -(-size // self.cell)
        return (at[:, None] // self.cell + np.arange(each)).ravel(), np.repeat(who, each)

    def _numbers(self, at: Index, count: int, dtype: Any) -> Index:
        return at[:, None] // np.dtype(dtype).itemsize + np.arange(count)

    def _demand(self, fine: Any, who: Index, else_: str) -> None:
        if not fine.all():
            thread = int(who[np.flatnonzero(~fine)[0]])
            raise KernelError(f"{self.threads.name(thread)} {else_}, in {self.name}")


class Private(Memory):
    """So many bytes for each block, or for each thread, whose own they are: PTX says "shared" and "local"."""

    def __init__(self, space: str, size: int, cell: int, threads: Threads) -> None:
        self.owner = threads.block if space == "shared" else np.arange(threads.count)
        self.given, self.size = size, size + -size % 16
        data = np.zeros(len(np.unique(self.owner)) * self.size, np.uint8)
        super().__init__(f"{space} memory", data, cell, threads, known=False)

    def locate(self, address: Index, size: int, who: Index, verb: str) -> Index:
        """Where in `bytes` each address is."""
        self._demand(address % size == 0, who, f"{verb} {size} bytes at an address that is no multiple of {size}")
        fits = (address >= 0) & (address + size <= self.given)
        self._demand(fits, who, f"{verb} beyond the {self.given} bytes of {self.name} that it is given")
        return address + self.owner[who] * self.size


class Global(Memory):
    """Arrays of the host, where they lie."""

    def __init__(self, arrays: list[np.ndarray], threads: Threads) -> None:
        # One array for each place: a kernel may be given the same twice.
        self.arrays = sorted({a.ctypes.data: a for a in sorted(arrays, key=lambda a: a.nbytes)}.values(), key=_start)
        self.start = np.array([_start(a) for a in self.arrays] or [0], np.int64)
        self.end = self.start + np.array([a.nbytes for a in self.arrays] or [0], np.int64)
        assert (self.end[:-1] <= self.start[1:]).all(), "two arguments overlap"
        # Apart by 16 bytes at least, and each where a GPU's memory pool would begin it; of accesses of 16 bytes, those
        # that are aligned on the host are here.
        room = self.end - self.start + self.start % 16
        self.offset = np.concatenate([[0], np.cumsum(room + 16 + -(room + 16) % 256)[:-1]]) + self.start % 16
        size = int((self.offset + room)[-1]) + 16
        data = np.zeros(size + -size % 16, np.uint8)
        for a, o in zip(self.arrays, self.offset, strict=False):
            data[o : o + a.nbytes] = a.reshape(-1).view(np.uint8)
        cell = min((a.itemsize for a in self.arrays), default=1)
        super().__init__("memory", data, min(cell, 4), threads, known=True)

    def locate(self, address: Index, size: int, who: Index, verb: str) -> Index:
        """Where in `bytes` each address is."""
        self._demand(address % size == 0, who, f"{verb} {size} bytes at an address that is no multiple of {size}")
        which = np.maximum(np.searchsorted(self.start, address, side="right") - 1, 0)
        inside = (address >= self.start[which]) & (address + size <= self.end[which])
        self._demand(inside, who, f"{verb} {size} bytes outside of every array that the kernel is given")
        return address - self.start[which] + self.offset[which]

    def give_back(self) -> None:
        """The arrays become what the kernel has made of them."""
        for a, o in zip(self.arrays, self.offset, strict=False):
            if a.flags.writeable:
                a.reshape(-1).view(np.uint8)[...] = self.bytes[o : o + a.nbytes]


def _start(a: np.ndarray) -> int:
    return int(a.ctypes.data)
