"""Attention's kernels on tensor cores, run on the CPU, against the readable functions in float64."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.kernel_cases import BFLOAT16, TOLERANCE, Run, exact, random

from minivit import functions as fn
from minivit.arrays import Array
from minivit.functions.attention import split_heads
from minivit.ops.cuda.attention_in_tiles import program as attention_program
from minivit.ops.cuda.attention_in_tiles import shared_bytes

ATTENTION_TOLERANCE = {BFLOAT16: TOLERANCE[BFLOAT16], np.dtype(np.float32): 2e-3}  # float32 is multiplied as TF32
ATTENTION_SIZES = [(5, 16, 1), (65, 64, 3), (33, 32, 2), (16, 48, 1), (128, 64, 1)]


@pytest.mark.parametrize("dtype", list(ATTENTION_TOLERANCE), ids=str)
@pytest.mark.parametrize(("tokens", "width", "heads"), ATTENTION_SIZES)
def test_attention_in_tiles(run: Run, dtype: np.dtype, tokens: int, width: int, heads: int) -> None:
    """With keys that have a part in common: rows of ds have to add up to 0, or dq has that part, too."""
    images, channels, scale, tolerance = 2, heads * width, np.float32(width**-0.5), ATTENTION_TOLERANCE[dtype]
    qkv, b = random(images, tokens, 3 * channels, dtype=dtype), random(3 * channels, dtype=dtype)
    dy, y = random(images, tokens, channels, dtype=dtype, seed=1), np.empty((images, tokens, channels), dtype)
    dqkv, partial = np.empty_like(qkv), np.empty((images, 3 * channels), np.float32)
    program = attention_program(tokens, width, heads, dtype.name)
    grid, threads = (images * heads,), (-(-tokens // 16) * 32,)
    forward, backward = (shared_bytes(tokens, width, dtype.itemsize, backward) for backward in (False, True))
    run(program, "attention", grid, threads, [qkv, b, scale, y], forward)
    run(program, "attention_backward", grid, threads, [dy, qkv, b, scale, dqkv, partial], backward)
    q, k, v = split_heads(exact((exact(qkv) + exact(b)).astype(dtype)), heads)
    expected, cache = fn.attention(q, k, v)
    by_head = exact(dy).reshape(images, tokens, heads, width).swapaxes(1, 2)
    found = dqkv.reshape(images, tokens, 3, heads, width).transpose(2, 0, 3, 1, 4)
    sums = partial.reshape(images, 3, heads, width).swapaxes(0, 1)

    def assert_near(found: Array, expected: Array, size: float) -> None:
        error = np.linalg.norm(exact(found) - expected)
        assert error < tolerance * size, error / size
        if (
            size == float(np.linalg.norm(expected)) and expected.size > 5000
        ):  # rounding, unlike cutting off, shrinks nothing
            assert abs(np.vdot(exact(found), expected) / size**2 - 1) < tolerance / 10

    assert_near(y.reshape(images, tokens, heads, width).swapaxes(1, 2), expected, float(np.linalg.norm(expected)))
    for part, d in enumerate(fn.attention_backward(by_head, cache)):
        size = float(np.linalg.norm(d))
        assert_near(found[part], d, size)
        assert_near(sums[part], d.sum(axis=2), size * tokens**0.5)  # the keys' sums are 0 but for rounding


@pytest.mark.parametrize("dtype", list(ATTENTION_TOLERANCE), ids=str)
def test_attention_of_large_scores_and_of_none(run: Run, dtype: np.dtype) -> None:
    """Scores of a thousand are no trouble, but a query whose scores are all -inf has no weights: NaN, as NumPy says."""
    tokens, width = 21, 16
    qkv, b, scale = random(1, tokens, 3 * width, dtype=dtype), np.zeros(3 * width, dtype), np.float32(0.25)
    qkv[..., :width] *= dtype.type(1000)
    qkv[0, 3, :width], qkv[0, :, width] = -np.inf, 1
    qkv[0, 3, 1:width] = 0
    y = np.empty((1, tokens, width), dtype)
    program, shared = (
        attention_program(tokens, width, 1, dtype.name),
        shared_bytes(tokens, width, dtype.itemsize, False),
    )
    run(program, "attention", (1,), (64,), [qkv, b, scale, y], shared)
    q, k, v = np.split(exact(qkv), 3, axis=-1)
    with np.errstate(invalid="ignore"):
        expected, _ = fn.attention(q, k, v)
    assert np.array_equal(np.isnan(exact(y)), np.isnan(expected))
    assert np.isnan(expected).sum() == width
    there = ~np.isnan(expected)
    error = np.linalg.norm(exact(y)[there] - expected[there]) / np.linalg.norm(expected[there])
    assert error < 0.3, "a softmax of large scores is nearly a choice, and rounding may choose another"


def test_shared_memory_that_was_not_given_is_missed(run: Run) -> None:
    x, program = random(1, 21, 48, dtype=BFLOAT16), attention_program(21, 16, 1)
    with pytest.raises(RuntimeError, match="writes beyond the 1000 bytes of shared memory"):
        run(program, "attention", (1,), (64,), [x, x[0, 0].copy(), np.float32(1), x[..., :16].copy()], 1000)
