"""PTX as text into instructions: what NVIDIA's compiler makes of a kernel, before the assembler."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

_MOST_THREADS = 1024  # of a block, on every GPU
REGISTER_BITS = {"pred": 1, "b16": 16, "b32": 32, "f32": 32, "b64": 64, "f64": 64}


@dataclass(frozen=True)
class Immediate:
    """A number in the text, as bits."""

    bits: int


@dataclass(frozen=True)
class Address:
    """[base + offset]; the base is a register or a symbol."""

    base: str
    offset: int


# A name is a register ("%r1", "%tid.x"), a symbol or a label; a tuple is a vector {%f1, %f2}.
Operand = str | Immediate | Address | tuple["Operand", ...]


class Instruction(NamedTuple):
    """One line, "@%p1 add.s32 %r1, %r2, 3;"."""

    text: str
    guard: str | None  # the predicate that decides whether a thread takes part
    negated: bool
    parts: tuple[str, ...]  # ("add", "s32")
    operands: tuple[Operand, ...]


class Kernel(NamedTuple):
    """One .entry."""

    name: str
    most_threads: int  # of a block
    parameters: tuple[tuple[str, int], ...]  # symbol, bytes
    registers: dict[str, int]  # the bits of each, by its prefix: "%r": 32
    shared: dict[str, int]  # where each array in shared memory begins
    shared_size: int  # of those whose size is known; an extern one begins here
    local: dict[str, int]  # where each array of a thread's own begins, of which there are so many bytes
    local_size: int
    code: tuple[Instruction, ...]
    labels: dict[str, int]  # where in the code each is


def kernels(text: str) -> dict[str, Kernel]:
    """Every .entry of a PTX text."""
    text = re.sub(r"//[^\n]*", "", text)
    extern = re.findall(r"\.extern \.shared \.align \d+ \.b8 (\w+)\[\]", text)
    found = {}
    for match in re.finditer(r"\.entry (\w+)\((.*?)\)\s*((?:\.\w+[^{]*)?)\{\n(.*?)\n\}\n", text, re.DOTALL):
        bound = re.search(r"\.maxntid (\d+)", match[3])
        most = int(bound[1]) if bound else _MOST_THREADS
        found[match[1]] = _kernel(match[1], most, match[2], match[4], extern, text[: match.start()])
    return found


def constants(text: str) -> dict[str, bytes]:
    """The tables that a PTX text brings with it."""
    found = re.findall(r"\.(?:global|const) \.align \d+ \.b8 (\w+)\[\d+\] = \{([\d, ]*)\};", text)
    return {name: bytes(map(int, numbers.split(","))) for name, numbers in found}


def _kernel(name: str, most: int, parameters: str, body: str, extern: list[str], before: str) -> Kernel:
    registers = {p: REGISTER_BITS[t] for t, p in re.findall(r"\.reg \.(\w+)\s+(%[A-Za-z]+)", body)}
    shared, size = _arrays("shared", body, before)
    local, local_size = _arrays("local", body)
    if any(symbol in body for symbol in extern):
        size += -size % 16
        shared |= dict.fromkeys(extern, size)
    code, labels = [], {}
    for line in _lines(body):
        if line.endswith(":"):
            labels[line[:-1]] = len(code)
        elif not line.startswith("."):
            code.append(_instruction(line))
    given = tuple(map(_parameter, parameters.split(",")))
    return Kernel(name, most, given, registers, shared, size, local, local_size, tuple(code), labels)


def _arrays(space: str, body: str, before: str = "") -> tuple[dict[str, int], int]:
    """Where each array of a kernel's begins in a memory, and their bytes; some are declared before it."""
    begins, size = {}, 0
    for align, bits, symbol, length in re.findall(
        rf"\.{space} \.align (\d+) \.[a-z](\d+)\s+(\w+)(?:\[(\d+)\])?;", before + body
    ):
        if symbol not in body:  # another kernel's
            continue
        size += -size % int(align)
        begins[symbol] = size
        size += int(bits) // 8 * int(length or 1)
    return begins, size


def _lines(body: str) -> Iterator[str]:
    """Labels and statements; a call stands on several lines."""
    begun = ""
    for line in body.splitlines():
        line = line.strip() if begun else line.strip().removeprefix("{").removesuffix("}").strip()
        if line.startswith("call") or begun:
            begun += line + " "
            if not line.endswith(";"):
                continue
            line, begun = begun.strip(), ""
        if line:
            yield line


def _parameter(text: str) -> tuple[str, int]:
    array = re.search(r"\.b8 (\w+)\[(\d+)\]", text)
    if array:
        return array[1], int(array[2])
    kind, symbol = text.split()[-2:]
    return symbol, int(kind[2:]) // 8


def _instruction(line: str) -> Instruction:
    match = re.fullmatch(r"(?:@(!?)(%\w+)\s+)?([\w.:]+)\s*(.*);", line, re.DOTALL)
    assert match, f"not an instruction: {line}"
    negated, guard, opcode, rest = match.groups()
    if opcode.startswith("call"):  # of a function, which this machine does not know: fine where no thread comes here
        return Instruction(line, guard, negated == "!", ("call",), ())
    pieces = re.findall(r"\{[^}]*\}|\[[^]]*\]|[^,\s]+", rest)
    return Instruction(line, guard, negated == "!", tuple(opcode.split(".")), tuple(map(_operand, pieces)))


def _operand(text: str) -> Operand:
    if text.startswith("{"):
        return tuple(_operand(part.strip()) for part in text[1:-1].split(","))
    if text.startswith("["):
        base, _, offset = text[1:-1].partition("+")
        return Address(base.strip(), int(offset or 0))
    if re.fullmatch(r"0[fFdD][0-9A-Fa-f]+", text):
        return Immediate(int(text[2:], 16))
    if re.fullmatch(r"-?\d+", text):
        return Immediate(int(text))
    return text.partition("|")[0]  # "%r1|%p1": the predicate of a shuffle says nothing that a full warp does not know
