"""Runs PTX: all threads of a grid at once, an instruction at a time.

Threads that stand at the same instruction take it together; those who are furthest behind go first, so that those
who parted at a branch meet again. Every access of memory is watched (memory.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from helpers.ptx import warps
from helpers.ptx.arithmetic import DTYPES, FUNCTIONS, flushed, known, operand_dtypes
from helpers.ptx.memory import WARP, Global, Index, KernelError, Memory, Private, Threads
from helpers.ptx.program import Address, Immediate, Instruction, Kernel, Operand
from helpers.ptx.traffic import Traffic

RUNNING, AT_BLOCK, AT_WARP, DONE = range(4)
Bits = np.ndarray[Any, Any]


class Machine:
    """One launch of `kernel`: its parameters as bytes, by their symbols, and `given` bytes of shared memory a block."""

    def __init__(self, kernel: Kernel, grid: tuple[int, ...], block: int, memory: Global, threads: Threads,
                 given: int, parameters: dict[str, bytes], traffic: Traffic | None) -> None:  # fmt: skip
        self.kernel, self.threads, self.memory, self.traffic = kernel, threads, memory, traffic
        self.shared = self._private("shared", kernel.shared_size + given)
        self.local = self._private("local", kernel.local_size)
        if traffic:
            memory.count, self.shared.count = traffic.of_memory, traffic.of_shared
        self.symbols = kernel.shared | kernel.local
        self.parameters = bytearray()
        for name, value in parameters.items():
            self.parameters += bytes(-len(self.parameters) % 16)
            self.symbols[name] = len(self.parameters)
            self.parameters += value
        self.parameters += bytes(-len(self.parameters) % 16)
        self.at, self.state = np.zeros(threads.count, np.int64), np.zeros(threads.count, np.int8)
        self.registers = self._special(grid, block)
        self.who: Index = np.arange(threads.count)
        self.copies: list[tuple[Index, Index, Bits]] = []  # on their way: threads, where to, what

    def _private(self, space: str, size: int) -> Private:
        """Memory that is watched in cells of the smallest number that the kernel reads or writes there."""
        code = [i for i in self.kernel.code if i.parts[0] in ("ld", "st") and space in i.parts]
        return Private(space, size, min((DTYPES[i.parts[-1]].itemsize for i in code), default=16), self.threads)

    def _special(self, grid: tuple[int, ...], block: int) -> dict[str, Bits]:
        across, count = grid[0], self.threads.count
        number = self.threads.block
        values = {"%tid.x": np.arange(count) % block, "%ctaid.x": number % across, "%ctaid.y": number // across,
                  "%ntid.x": block, "%nctaid.x": across, "%nctaid.y": grid[1] if len(grid) > 1 else 1}  # fmt: skip
        return {name: np.broadcast_to(np.asarray(x, np.uint32), count) for name, x in values.items()}

    # Threads and where they stand.

    def run(self) -> None:
        """Until every thread has returned. Raises KernelError where one does what it must not."""
        with np.errstate(all="ignore"):
            while True:
                running = np.flatnonzero(self.state == RUNNING)
                if len(running):
                    first = self.at[running].min()
                    self._run_from(int(first), running[self.at[running] == first])
                elif (self.state == DONE).all():
                    return
                elif not self._open_barriers():
                    raise KernelError(f"{self.kernel.name}: the threads wait for others that never come")

    def _open_barriers(self) -> int:
        opened = 0
        for state, group, which in ((AT_WARP, self.threads.warp, 1), (AT_BLOCK, self.threads.block, 0)):
            waits = self.state == state
            away = np.zeros(group.max() + 1, bool)
            away[group[~waits & (self.state != DONE)]] = True
            go = waits & ~away[group]
            self.state[go] = RUNNING
            self.threads.passed[which, go] += 1
            opened += int(go.sum())
        return opened

    def _run_from(self, start: int, who: Index) -> None:
        """The threads `who` up to where others may join them, or where they may part."""
        stops = set(self.kernel.labels.values())
        for i in range(start, len(self.kernel.code)):
            if i in stops and i > start:
                self.at[who] = i
                return
            instruction = self.kernel.code[i]
            self.who = who
            if instruction.guard:
                self.who = who[self.registers[instruction.guard][who] != instruction.negated]
            try:
                parted = len(self.who) and self._take(instruction, i + 1)
            except KernelError as fault:
                raise KernelError(f"{self.kernel.name}: {fault} ({instruction.text})") from None
            if parted or instruction.parts[0] == "bra":
                rest = np.setdiff1d(who, self.who) if instruction.guard else who[:0]
                self.at[rest] = i + 1
                return
        self.state[who] = DONE

    def _take(self, instruction: Instruction, following: int) -> bool:
        """The threads self.who take an instruction; returns whether they do not simply go on to the `following` one."""
        if self.traffic:
            self.traffic.issue(self.threads, self.who)
        match instruction.parts:
            case ("bra", *_):
                self.at[self.who] = self.kernel.labels[str(instruction.operands[0])]
            case ("ret",):
                self.state[self.who] = DONE
            case ("bar", "sync", *_) | ("bar", "warp", *_):
                if "sync" in instruction.parts[1:2]:
                    self._demand_whole_warps(but_for_done=True)
                self.at[self.who] = following
                self.state[self.who] = AT_WARP if "warp" in instruction.parts else AT_BLOCK
            case _:
                self._compute(instruction)
                return False
        return True

    # Registers.

    def value(self, operand: Operand, dtype: np.dtype[Any]) -> Bits:
        """An operand (threads,), read as `dtype`."""
        bits = np.dtype(f"u{dtype.itemsize}")
        if isinstance(operand, Immediate):
            if dtype.kind == "b":
                return np.broadcast_to(np.bool_(operand.bits != 0), len(self.who))
            one = np.array(operand.bits % 2 ** (8 * dtype.itemsize), bits).view(dtype)
            return np.broadcast_to(one, len(self.who))
        assert isinstance(operand, str)
        if operand in self.symbols:
            return np.full(len(self.who), self.symbols[operand], dtype)
        found = self._register(operand)[self.who]
        return found if found.dtype == dtype else found.astype(bits).view(dtype)

    def put(self, register: Operand, values: Bits) -> None:
        """Values (threads,) into a register; signed ones keep their sign in a wider one."""
        assert isinstance(register, str)
        whole = self._register(register)
        kept = whole.dtype
        values = np.ascontiguousarray(values)
        if values.dtype.itemsize != kept.itemsize:
            values = values.astype(f"i{kept.itemsize}" if values.dtype.kind == "i" else kept)
        whole[self.who] = values.view(kept)

    def _register(self, name: str) -> Bits:
        """All threads' (threads,). Until it is written it holds what nobody can foresee."""
        if name not in self.registers:
            width = self.kernel.registers[name.rstrip("0123456789")]
            kept = np.dtype(bool if width == 1 else f"u{width // 8}")
            self.registers[name] = np.full(self.threads.count, 0xDEADBEEF % 2**width, np.uint64).astype(kept)
        return self.registers[name]

    def addresses(self, operand: Operand) -> Index:
        """Where each thread's [base + offset] is."""
        assert isinstance(operand, Address)
        base = self.value(operand.base, np.dtype(np.int64))
        return base + operand.offset

    # Instructions.

    def _compute(self, instruction: Instruction) -> None:
        parts, operands = instruction.parts, instruction.operands
        match parts[0]:
            case "mov":
                self._move(DTYPES[parts[1]], operands)
            case "cvta":  # generic addresses of global memory are its own; of the others, this machine's are
                self.put(operands[0], self.value(operands[1], DTYPES["u64"]))
            case "ld":
                self._load(parts, operands)
            case "st":
                self._store(parts, operands)
            case "cp":
                warps.copy(self, parts, operands)
            case "shfl" | "ldmatrix" | "mma":
                self._demand_whole_warps()
                getattr(warps, parts[0])(self, parts, operands)
            case name if known(parts):
                dtypes = operand_dtypes(parts, len(operands) - 1)
                given = [self.value(x, d) for x, d in zip(operands[1:], dtypes, strict=True)]
                given = [flushed(x) for x in given] if "ftz" in parts else given
                found = FUNCTIONS[name](parts, *given)
                self.put(operands[0], flushed(found) if "ftz" in parts else found)
            case _:
                raise NotImplementedError(f"this machine does not know {instruction.text}")

    def _demand_whole_warps(self, but_for_done: bool = False) -> None:
        if but_for_done:
            warps = np.unique(self.threads.warp[self.who])
            expected = np.isin(self.threads.warp, warps) & (self.state != DONE)
            if int(expected.sum()) == len(self.who):
                return
        if self.threads.size % WARP:
            raise KernelError(f"a block of {self.threads.size} threads is no whole number of warps")
        if len(self.who) % WARP or (np.diff(self.who.reshape(-1, WARP)) != 1).any():
            raise KernelError(f"not all threads of a warp are there, {self.threads.name(int(self.who[0]))} is")

    def _move(self, dtype: np.dtype[Any], operands: tuple[Operand, ...]) -> None:
        into, source = operands
        if isinstance(source, tuple):  # {low, high}
            half = np.dtype(f"u{dtype.itemsize // 2}")
            low, high = (self.value(x, half).astype(dtype) for x in source)
            self.put(into, low | high << (8 * half.itemsize))
        elif isinstance(into, tuple):
            half = np.dtype(f"u{dtype.itemsize // 2}")
            value = self.value(source, np.dtype(f"u{dtype.itemsize}"))
            for i, register in enumerate(into):
                self.put(register, (value >> (8 * half.itemsize * i)).astype(half))
        else:
            self.put(into, self.value(source, dtype))

    def _memory(self, parts: tuple[str, ...]) -> Memory:
        return self.shared if "shared" in parts else self.local if "local" in parts else self.memory

    def _load(self, parts: tuple[str, ...], operands: tuple[Operand, ...]) -> None:
        dtype, into = DTYPES[parts[-1]], operands[0] if isinstance(operands[0], tuple) else (operands[0],)
        at = self.addresses(operands[1])
        if "param" in parts:
            whole = np.frombuffer(self.parameters, dtype)
            values = whole[at[:, None] // dtype.itemsize + np.arange(len(into))]
        else:
            memory = self._memory(parts)
            where = memory.locate(at, len(into) * dtype.itemsize, self.who, "reads")
            values = memory.read(where, len(into), dtype, self.who)
        for register, column in zip(into, values.T, strict=True):
            self.put(register, column)

    def _store(self, parts: tuple[str, ...], operands: tuple[Operand, ...]) -> None:
        dtype, source = DTYPES[parts[-1]], operands[1] if isinstance(operands[1], tuple) else (operands[1],)
        values = np.stack([self.value(x, dtype) for x in source], axis=1)
        memory = self._memory(parts)
        where = memory.locate(self.addresses(operands[0]), values.shape[1] * dtype.itemsize, self.who, "writes")
        memory.write(where, values, self.who)
