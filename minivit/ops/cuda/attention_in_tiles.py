"""Attention between the projections in one kernel each way: the scores never leave a multiprocessor.

For bfloat16 and TF32, and sequences whose keys fit into one block's registers, as those of CIFAR do.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from minivit.arrays import Array, array_module
from minivit.ops.cuda.attention_by_products import probabilities
from minivit.ops.cuda.launch import WARP, launch, shared_limit, sum_rows
from minivit.ops.cuda.products import exact
from minivit.ops.cuda.source import Build, build, name_of

_TILE = 16  # tokens of a warp
SMALLEST = 99 * 1024  # bytes of shared memory of a block: compute capabilities 8.6, 8.9 and 12.0
_TOKENS, _WIDTH = 128, 64  # at most: what registers have room for, of tokens and of numbers of a head


class InTiles(NamedTuple):
    """What the backward pass needs."""

    qkv: Array  # (B, T, 3 D)  queries, keys and values side by side, without their bias
    bias: Array  # (3 D,)
    heads: int

    @property
    def p(self) -> Array:
        """The probabilities (B, K, T, T), computed again: they were never in memory."""
        return probabilities(self.qkv + self.bias, self.heads)[..., : self.qkv.shape[1]]


def fits(x: Array, heads: int) -> bool:
    """Whether the kernels take x (B, T, D): its type, its heads' width, its length, and the GPU."""
    tokens, width = x.shape[1], x.shape[2] // heads
    return (
        (name_of(x.dtype) == "bfloat16" or (x.dtype == np.float32 and not exact()))
        and int(array_module(x).cuda.Device().compute_capability) >= 80
        and room_for(tokens, width, x.itemsize, shared_limit(array_module(x)))
    )


def room_for(tokens: int, width: int, itemsize: int, shared: int = SMALLEST) -> bool:
    """Whether sequences of `tokens` and heads of a `width` find room in the registers, and in `shared` bytes.

    Of shared memory every GPU with tensor cores for bfloat16 has SMALLEST for a block.
    """
    in_registers = tokens <= _TOKENS and width <= _WIDTH and width % 16 == 0
    return in_registers and shared_bytes(tokens, width, itemsize, backward=True) <= shared


def attention(qkv: Array, bias: Array, heads: int) -> tuple[Array, InTiles]:
    """y (B, T, D) for qkv (B, T, 3 D), which lacks its bias (3 D,)."""
    batch, tokens, width = qkv.shape
    y = array_module(qkv).empty((batch, tokens, width // 3), dtype=qkv.dtype)
    _launch("attention", qkv, heads, [qkv, bias, _scale(qkv, heads), y])
    return y, InTiles(qkv, bias, heads)


def attention_backward(dy: Array, cache: InTiles) -> tuple[Array, Array]:
    """dqkv (B, T, 3 D) and the bias's gradient (3 D,), float32, for dy (B, T, D)."""
    qkv, bias, heads = cache
    xp = array_module(dy)
    dqkv, partial = xp.empty_like(qkv), xp.empty((len(qkv), qkv.shape[-1]), dtype=np.float32)
    _launch("attention_backward", qkv, heads, [dy, qkv, bias, _scale(qkv, heads), dqkv, partial])
    return dqkv, sum_rows(partial)


def program(tokens: int, width: int, heads: int, dtype: Any = "bfloat16") -> Build:
    """attention.cu for sequences of `tokens` and `heads` heads of a `width`, in bfloat16 or float32 (as TF32)."""
    return build("attention", dtype, TOKENS=tokens, HEAD=width, HEADS=heads)


def _launch(kernel: str, qkv: Array, heads: int, arguments: list[object]) -> None:
    batch, tokens, width = qkv.shape[0], qkv.shape[1], qkv.shape[2] // (3 * heads)
    warps, backward = -(-tokens // _TILE), kernel == "attention_backward"
    shared = shared_bytes(tokens, width, qkv.itemsize, backward)
    launch(program(tokens, width, heads, qkv.dtype), kernel, (batch * heads,), warps * WARP, arguments, shared)


def shared_bytes(tokens: int, width: int, itemsize: int, backward: bool) -> int:
    """Bytes of shared memory of a block: q, k, v; on the way back also dy, and p and ds.

    Rows are 16 bytes longer than what they hold. float32's p and ds take the place of k and v: see the kernel.
    """
    rows, more = -(-tokens // _TILE) * _TILE, 16 // itemsize
    vectors, scores = rows * (width + more), rows * (rows + more)
    if not backward:
        return itemsize * 3 * vectors
    last = max(2 * vectors, 2 * scores) if itemsize == 4 else 2 * vectors + 2 * scores
    return itemsize * (2 * vectors + last)


def _scale(qkv: Array, heads: int) -> np.float32:
    return np.float32(1.0 / math.sqrt(qkv.shape[-1] // (3 * heads)))
