"""What the threads of a warp do together: exchange numbers, load matrices, multiply them; and copies on their way.

Source: NVIDIA, PTX ISA, "Warp-level matrix instructions" (which lane holds which number), "shfl.sync", "cp.async".
Nothing here is shared with the kernels or with helpers/cuda_on_cpu.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from helpers.ptx.arithmetic import DTYPES, of_bfloat16
from helpers.ptx.memory import WARP
from helpers.ptx.program import Operand

if TYPE_CHECKING:
    from helpers.ptx.machine import Machine

Array = Any
LANE = np.arange(WARP)
GROUP, IN_GROUP = LANE // 4, LANE % 4  # the standard's groupID and threadID_in_group


def shfl(machine: Machine, parts: tuple[str, ...], operands: tuple[Operand, ...]) -> None:
    """A number from another lane: of a given index, or whose index differs in given bits."""
    assert parts[2] in ("bfly", "idx"), parts
    u32 = DTYPES["u32"]
    given, bits, bound, mask = (machine.value(x, u32) for x in operands[1:5])
    assert (bound == 0x1F).all()
    assert (mask == 0xFFFFFFFF).all()
    lane = np.arange(len(given)) % WARP
    other = np.arange(len(given)) - lane + (lane ^ bits if parts[2] == "bfly" else bits % WARP)
    machine.put(operands[0], given[other])


def ldmatrix(machine: Machine, parts: tuple[str, ...], operands: tuple[Operand, ...]) -> None:
    """Four matrices of 8 rows of 16 bytes, of which the lanes give the beginnings, eight a matrix."""
    assert parts[3:5] == ("m8n8", "x4"), parts
    who, shared = machine.who, machine.shared
    where = shared.locate(machine.addresses(operands[1]), 16, who, "reads")
    rows = shared.read(where, 8, np.dtype(np.uint16), who)
    matrices = rows.reshape(-1, 4, 8, 8)  # warps, matrices, rows, columns
    if "trans" in parts:
        matrices = matrices.swapaxes(2, 3)
    assert isinstance(operands[0], tuple)
    for i, register in enumerate(operands[0]):
        low, high = (matrices[:, i, GROUP, 2 * IN_GROUP + k].astype(np.uint32) for k in range(2))
        machine.put(register, (low | high << 16).ravel())


def _numbers(machine: Machine, registers: Operand, kind: str) -> Array:
    """What a warp holds: (warps, lanes, numbers of a lane, low to high)."""
    assert isinstance(registers, tuple)
    bits = np.stack([machine.value(x, DTYPES["b32"]).reshape(-1, WARP) for x in registers], axis=-1)
    if kind == "tf32":  # of float32, the last 13 bits count for nothing
        return (bits & ~np.uint32(0x1FFF)).view(np.float32)
    if kind == "f32":
        return bits.view(np.float32)
    pairs = np.stack([bits & 0xFFFF, bits >> 16], axis=-1).astype(np.uint16)
    return of_bfloat16(pairs.reshape(*bits.shape[:-1], -1))


# Row and column of number i of a lane (lanes, numbers), for factors a (16, K), b (K, 8) and sums c (16, 8).
_I = np.arange(8)
_LANES = (GROUP[:, None], IN_GROUP[:, None])
PLACES = {
    ("m16n8k16", "a"): (_LANES[0] + 8 * (_I // 2 % 2), _LANES[1] * 2 + _I % 2 + 8 * (_I // 4)),
    ("m16n8k16", "b"): (_LANES[1] * 2 + _I[:4] % 2 + 8 * (_I[:4] // 2), _LANES[0] + 0 * _I[:4]),
    ("m16n8k8", "a"): (_LANES[0] + 8 * (_I[:4] % 2), _LANES[1] + 4 * (_I[:4] // 2)),
    ("m16n8k8", "b"): (_LANES[1] + 4 * _I[:2], _LANES[0] + 0 * _I[:2]),
    "c": (_LANES[0] + 8 * (_I[:4] // 2), _LANES[1] * 2 + _I[:4] % 2),
}


def _matrix(numbers: Array, place: tuple[Array, Array], shape: tuple[int, int]) -> Array:
    matrix = np.full((len(numbers), *shape), np.nan)
    matrix[:, place[0], place[1]] = numbers
    return matrix


def mma(machine: Machine, parts: tuple[str, ...], operands: tuple[Operand, ...]) -> None:
    """d = a b + c, on tensor cores; products and their sum are exact here, and rounded once."""
    shape, kind = parts[3], parts[7]
    assert parts[4:6] == ("row", "col"), parts
    assert parts[6:] == ("f32", kind, kind, "f32"), parts
    depth = int(shape.partition("k")[2])
    a = _matrix(_numbers(machine, operands[1], kind), PLACES[shape, "a"], (16, depth))
    b = _matrix(_numbers(machine, operands[2], kind), PLACES[shape, "b"], (depth, 8))
    c = _matrix(_numbers(machine, operands[3], "f32"), PLACES["c"], (16, 8))
    d = (a @ b + c).astype(np.float32)[:, PLACES["c"][0], PLACES["c"][1]]
    assert isinstance(operands[0], tuple)
    for i, register in enumerate(operands[0]):
        machine.put(register, d[..., i].ravel())


def copy(machine: Machine, parts: tuple[str, ...], operands: tuple[Operand, ...]) -> None:
    """16 bytes from memory to shared memory, of which fewer may be read, the rest being 0; or to wait for all such."""
    if parts[2] == "wait_all":
        _arrive(machine)
        return
    assert parts[1:] == ("async", "cg", "shared", "global"), parts
    who, byte = machine.who, np.dtype(np.uint8)
    size = machine.value(operands[3], DTYPES["u32"])
    assert np.isin(size, (0, 16)).all()
    data = np.zeros((len(who), 16), byte)
    full = np.flatnonzero(size)
    source = machine.memory.locate(machine.addresses(operands[1])[full], 16, who[full], "copies")
    data[full] = machine.memory.read(source, 16, byte, who[full])
    into = machine.shared.locate(machine.addresses(operands[0]), 16, who, "writes")
    machine.shared.claim(into, 16, who, known=False)
    machine.copies.append((who, into, data))


def _arrive(machine: Machine) -> None:
    left = []
    for who, into, data in machine.copies:
        here = np.isin(who, machine.who)
        machine.shared.arrive(into[here], data[here], who[here])
        left.append((who[~here], into[~here], data[~here]))
    machine.copies = [copies for copies in left if len(copies[0])]
