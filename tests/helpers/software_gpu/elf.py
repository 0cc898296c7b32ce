"""Names in a shared library: where its functions are, and what it expects of others."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

_FUNCTION = 2  # STT_FUNC


class Symbols(NamedTuple):
    """Of one library: functions that it has, by their offset in memory; names that it takes from others."""

    defined: dict[str, int]
    needed: list[str]


def symbols(path: Path) -> Symbols:
    """Read the symbol tables of an ELF file of 64 bits, those that only a debugger reads too."""
    data = path.read_bytes()
    assert data[:5] == b"\x7fELF\x02", f"{path} is no ELF file of 64 bits"
    start, size, count = (struct.unpack_from(kind, data, at)[0] for kind, at in (("Q", 40), ("H", 58), ("H", 60)))
    sections = [struct.unpack_from("IIQQQQIIQQ", data, start + i * size) for i in range(count)]
    defined: dict[str, int] = {}
    needed: list[str] = []
    for _, kind, _, _, at, length, link, _, _, entry in sections:
        if kind not in (2, 11):  # SHT_SYMTAB, SHT_DYNSYM
            continue
        names = sections[link][4]
        for i in range(0, length, entry):
            name, info, _, section, value, _ = struct.unpack_from("IBBHQQ", data, at + i)
            text = data[names + name : data.index(b"\0", names + name)].decode().partition("@")[0]
            if not section:
                needed.append(text)
            elif info & 15 == _FUNCTION:
                defined[text] = value
    return Symbols(defined, needed)
