"""What the instructions of PTX that compute do, for many threads at once: NumPy arrays in, NumPy arrays out.

Source: NVIDIA, PTX ISA, chapter "Instruction Set". Approximations (ex2.approx, rcp.approx) are exact here.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

Array = Any
DTYPES = {
    f"{kind}{bits}": np.dtype(f"{code}{bits // 8}") for kind, code in ("uu", "bu", "si") for bits in (8, 16, 32, 64)
}
DTYPES |= {"f32": np.dtype(np.float32), "f64": np.dtype(np.float64), "pred": np.dtype(bool)}
DTYPES |= {"bf16": np.dtype(np.uint16), "bf16x2": np.dtype(np.uint32), "tf32": np.dtype(np.uint32)}  # as bits
_SMALLEST = np.finfo(np.float32).tiny  # of normal numbers


def flushed(x: Array) -> Array:
    """Numbers of float32 too small to be normal become 0, as .ftz says."""
    return np.where(np.abs(x) < _SMALLEST, np.copysign(np.float32(0), x), x) if x.dtype == np.float32 else x


def rounded_bfloat16(x: Array) -> Array:
    """The upper half of float32 (...), rounded to nearest, ties to even."""
    bits = x.view(np.uint32)
    up = (bits.astype(np.uint64) + 0x7FFF + (bits >> 16 & 1) >> 16).astype(np.uint16)
    return np.where(np.isnan(x), np.uint16(0x7FFF), up)


def of_bfloat16(bits: Array) -> Array:
    """float32 of which `bits` are the upper half."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def rounded_tf32(x: Array) -> Array:
    """float32 as bits, of which the last 13 are 0: rounded to nearest, ties away from 0."""
    bits = x.view(np.uint32)
    return np.where(np.isfinite(x), (bits + np.uint32(0x1000)) & ~np.uint32(0x1FFF), bits)


def _halves(x: Array) -> tuple[Array, Array]:
    big = x * 134217729.0  # 2^27 + 1
    high = big - (big - x)
    return high, x - high


def _fma64(a: Array, b: Array, c: Array) -> Array:
    """a b + c with one rounding, or nearly: the product and the sum are split into what is kept and what is lost."""
    product = a * b
    (a1, a2), (b1, b2) = _halves(a), _halves(b)
    lost = ((a1 * b1 - product) + a1 * b2 + a2 * b1) + a2 * b2
    total = product + c
    part = total - product
    lost = lost + ((product - (total - part)) + (c - part))
    return np.where(np.isfinite(lost), total + lost, total)


def fma(parts: tuple[str, ...], a: Array, b: Array, c: Array) -> Array:
    if a.dtype == np.float64:
        _demand("rn" in parts, parts)
        return _fma64(a, b, c)
    wide = a.astype(np.float64) * b + c
    x = wide.astype(np.float32)
    if "rm" in parts:  # towards minus infinity
        x = np.where(x > wide, np.nextafter(x, np.float32(-np.inf)), x)
    return x


def _demand(known: bool, parts: tuple[str, ...]) -> None:
    if not known:
        raise NotImplementedError(f"this machine does not know {'.'.join(parts)}")


def _high(a: Array, b: Array) -> Array:
    """The upper half of the product of two integers."""
    if a.dtype.itemsize == 4:
        wide = np.int64 if a.dtype.kind == "i" else np.uint64
        return (a.astype(wide) * b.astype(wide) >> wide(32)).astype(a.dtype)
    if a.dtype.kind == "i":  # as bits, a negative number is larger by 2^64
        bits = _high(a.view(np.uint64), b.view(np.uint64)).view(np.int64)
        return bits - np.where(a < 0, b, 0) - np.where(b < 0, a, 0)
    half, mask = np.uint64(32), np.uint64(0xFFFFFFFF)
    (a1, a0), (b1, b0) = ((x >> half, x & mask) for x in (a, b))
    middle = (a0 * b0 >> half) + (a1 * b0 & mask) + (a0 * b1 & mask)
    return a1 * b1 + (a1 * b0 >> half) + (a0 * b1 >> half) + (middle >> half)


def mul(parts: tuple[str, ...], a: Array, b: Array) -> Array:
    if "hi" in parts:
        return _high(a, b)
    if "wide" in parts:
        wide = np.dtype(f"{a.dtype.kind}{2 * a.dtype.itemsize}")
        return a.astype(wide) * b.astype(wide)
    return a * b


def mad(parts: tuple[str, ...], a: Array, b: Array, c: Array) -> Array:
    return mul(parts, a, b) + c


def add(parts: tuple[str, ...], a: Array, b: Array) -> Array:
    if parts[-1] == "bf16x2":
        low, high = (
            rounded_bfloat16(of_bfloat16(a >> shift & 0xFFFF) + of_bfloat16(b >> shift & 0xFFFF)) for shift in (0, 16)
        )
        return high.astype(np.uint32) << 16 | low
    return a + b


def div(parts: tuple[str, ...], a: Array, b: Array) -> Array:
    if a.dtype.kind == "f":
        return a / b
    quotient = a // b
    # NumPy rounds down, C towards 0.
    return quotient + ((a % b != 0) & ((a < 0) != (b < 0))) if a.dtype.kind == "i" else quotient


def shift(parts: tuple[str, ...], a: Array, count: Array) -> Array:
    bits = 8 * a.dtype.itemsize
    far = count >= bits
    by = np.minimum(count, bits - 1).astype(a.dtype)
    if parts[0] == "shl":
        return np.where(far, a.dtype.type(0), a << by)
    return np.where(far & (a.dtype.kind == "u"), a.dtype.type(0), a >> by)  # a signed one keeps its sign


def funnel_shift(parts: tuple[str, ...], low: Array, high: Array, count: Array) -> Array:
    """Two numbers of 32 bits side by side, shifted: the upper half of what goes left, the lower of what goes right."""
    both = high.astype(np.uint64) << np.uint64(32) | low
    by = (count & 31 if "wrap" in parts else np.minimum(count, 32)).astype(np.uint64)
    return (both << by >> np.uint64(32) if "l" in parts else both >> by).astype(np.uint32)


def rem(parts: tuple[str, ...], a: Array, b: Array) -> Array:
    return a - div(parts, a, b) * b


def bfi(parts: tuple[str, ...], a: Array, b: Array, start: Array, length: Array) -> Array:
    """The lowest bits of a, put into b."""
    one, kind = a.dtype.type(1), a.dtype
    whole = length >= 8 * kind.itemsize
    ones = np.where(whole, ~kind.type(0), (one << np.where(whole, 0, length).astype(kind)) - one)
    mask = ones << start.astype(kind)
    return b & ~mask | a << start.astype(kind) & mask


_COMPARE = {name: getattr(operator, name) for name in ("eq", "ne", "lt", "le", "gt", "ge")}


def setp(parts: tuple[str, ...], a: Array, b: Array) -> Array:
    name = parts[1]
    unordered = np.isnan(a) | np.isnan(b) if a.dtype.kind == "f" else None
    if name in ("num", "nan"):
        return unordered if name == "nan" else ~unordered
    found = _COMPARE[name[:2]](a, b)
    if unordered is not None:
        found = found | unordered if name.endswith("u") else found & ~unordered
    return found


def cvt(parts: tuple[str, ...], *given: Array) -> Array:
    """From one type to another; of two numbers, the first goes into the upper half of the result."""
    into, x = parts[-2], given[0]
    if into == "bf16x2":
        high, low = (rounded_bfloat16(v).astype(np.uint32) for v in given)
        return high << 16 | low
    if into == "bf16":
        return rounded_bfloat16(x)
    if into == "tf32":
        return rounded_tf32(x)
    if parts[-1] == "bf16":
        x = of_bfloat16(x)
    for how, rounded in (("rni", np.rint), ("rzi", np.trunc), ("rmi", np.floor), ("rpi", np.ceil)):
        x = rounded(x) if how in parts else x
    if "sat" in parts:
        x = np.where(x > 0, np.minimum(x, 1), 0)
    if x.dtype.kind == "f" and DTYPES[into].kind in "iu":  # to the nearest there is, NaN to 0
        ends = np.iinfo(DTYPES[into])
        inside = (x >= float(ends.min)) & (x < float(ends.max) + 1)
        kept = np.where(inside, x, 0).astype(DTYPES[into])
        return np.where(inside, kept, np.where(x > 0, ends.max, np.where(x < 0, ends.min, 0)).astype(DTYPES[into]))
    return x.astype(DTYPES[into])


def _simple(function: Callable[..., Array]) -> Callable[..., Array]:
    return lambda parts, *given: function(*given)


FUNCTIONS: dict[str, Callable[..., Array]] = {
    "add": add, "sub": _simple(np.subtract), "neg": _simple(np.negative), "abs": _simple(np.abs),
    "max": _simple(np.fmax), "min": _simple(np.fmin), "not": _simple(np.invert),
    "and": _simple(np.bitwise_and), "or": _simple(np.bitwise_or), "xor": _simple(np.bitwise_xor),
    "rcp": _simple(lambda x: x.dtype.type(1) / x), "sqrt": _simple(np.sqrt), "ex2": _simple(np.exp2),
    "lg2": _simple(np.log2), "rsqrt": _simple(lambda x: x.dtype.type(1) / np.sqrt(x)),
    "copysign": _simple(lambda sign, size: np.copysign(size, sign)),
    "selp": _simple(lambda a, b, chosen: np.where(chosen, a, b)),
    "mul": mul, "mad": mad, "fma": fma, "div": div, "rem": rem, "shl": shift, "shr": shift, "shf": funnel_shift,
    "popc": _simple(lambda x: np.bitwise_count(x).astype(np.uint32)),
    "bfi": bfi, "setp": setp, "cvt": cvt,
}  # fmt: skip


# What may stand between an instruction's name and its types. Other ways to round are not computed here.
_MODIFIERS = {
    "rn", "rni", "rzi", "rmi", "rpi", "rna", "ftz", "sat", "approx", "lo", "hi", "wide", "l", "r", "wrap", "clamp",
    *(order + u for order in _COMPARE for u in ("", "u")), "num", "nan",
}  # fmt: skip


def known(parts: tuple[str, ...]) -> bool:
    """Whether FUNCTIONS compute an instruction as a GPU does."""
    if parts[0] not in FUNCTIONS:
        return False
    if parts[0] == "fma" and parts[-1] == "f32" and "rm" in parts:
        return True
    narrow = parts[-1] in ("bf16", "bf16x2", "f16", "f16x2") and parts[0] not in ("cvt", "selp")
    return all(p in _MODIFIERS or p in DTYPES for p in parts[1:]) and (
        not narrow or parts[0] + parts[-1] == "addbf16x2"
    )


def operand_dtypes(parts: tuple[str, ...], count: int) -> list[np.dtype[Any]]:
    """What an instruction takes its `count` operands to be."""
    last = DTYPES[parts[-1]]
    dtypes = [last] * count
    if parts[0] == "mad" and "wide" in parts:
        dtypes[2] = np.dtype(f"{last.kind}{2 * last.itemsize}")
    elif parts[0] == "selp":
        dtypes[2] = DTYPES["pred"]
    elif parts[0] in ("shl", "shr"):
        dtypes[1] = DTYPES["u32"]
    elif parts[0] == "bfi":
        dtypes[2:] = [DTYPES["u32"]] * 2
    return dtypes
