"""How much a kernel asks of memory, counted as a GPU serves it: without a GPU, and the same each time.

Memory is fetched in sectors of 32 bytes: what a warp asks for at once costs as many as it touches, used or not.
Shared memory has 32 banks of 4 bytes, each of which gives one word at a time: a warp waits for as many turns as it
asks the busiest bank for different words. Of numbers of 8 or 16 bytes a half or a quarter of a warp is served at once.

Source: NVIDIA, CUDA C++ Programming Guide, "Compute Capability 5.x" and later: global and shared memory.
"""

from __future__ import annotations

import numpy as np

from helpers.ptx.memory import WARP, Index, Threads

SECTOR, BANKS, WORD = 32, 32, 4
_FAR = 1 << 40  # more than any address here, so that a warp and an address make one number


class Traffic:
    """Counts of one launch, or of several."""

    def __init__(self) -> None:
        self.instructions = 0  # issued, a warp's counted once
        self.asked = self.sectors = 0  # of memory: different bytes that warps asked for, and sectors that it cost
        self.turns = self.least_turns = 0  # of shared memory: as it is, and if no two words lay in one bank

    @property
    def used(self) -> float:
        """Share of the bytes fetched from memory that were asked for."""
        return self.asked / (SECTOR * self.sectors)

    @property
    def conflicts(self) -> float:
        """Turns of shared memory over the least that they could be."""
        return self.turns / self.least_turns

    def issue(self, threads: Threads, who: Index) -> None:
        """An instruction of the threads `who`."""
        self.instructions += len(np.unique(threads.warp[who]))

    def of_memory(self, threads: Threads, at: Index, size: int, who: Index) -> None:
        """Accesses of `size` bytes from byte `at` on, one a thread, at once."""
        warps = threads.warp[who] * _FAR
        self.asked += size * len(np.unique(warps + at))
        self.sectors += len(np.unique(warps + at // SECTOR))

    def of_shared(self, threads: Threads, at: Index, size: int, who: Index) -> None:
        """The same for shared memory."""
        groups = max(1, size // WORD)
        lane = who % threads.size % WARP
        group = threads.warp[who] * groups + lane // (WARP // groups)
        words = at[:, None] // WORD + np.arange(groups)
        group_word = np.unique(group[:, None] * _FAR + words)  # a word asked for twice is given to both
        group_bank, count = np.unique(group_word // _FAR * BANKS + group_word % BANKS, return_counts=True)
        most = np.zeros(int(group.max()) + 1, np.int64)
        np.maximum.at(most, group_bank // BANKS, count)
        self.turns += int(most.sum())
        self.least_turns += int((most > 0).sum())
