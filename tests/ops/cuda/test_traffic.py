"""What the kernels of a step ask of memory: whole sectors, and no bank of shared memory for two words at once."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from helpers.ptx import AVAILABLE, NEEDS, compiled, launch, run
from helpers.ptx.traffic import Traffic

from minivit.ops.cuda.attention_in_tiles import program as attention_program
from minivit.ops.cuda.attention_in_tiles import shared_bytes
from minivit.ops.cuda.source import build

pytestmark = pytest.mark.skipif(not AVAILABLE, reason=NEEDS)
TYPES = {"bfloat16": np.dtype(ml_dtypes.bfloat16), "float32": np.dtype(np.float32)}
every_type = pytest.mark.parametrize("dtype", TYPES.values(), ids=list(TYPES))


def counted(body: str) -> Traffic:
    """One warp that reads x (1024,) float or writes `kept` (1024,) float in shared memory; i is the lane."""
    text = f"""extern "C" __global__ void f(float* x) {{
        __shared__ float kept[1024]; const int i = threadIdx.x; {body} }}"""
    traffic = Traffic()
    launch(compiled(text)["f"], (1,), 32, [np.zeros(1024, np.float32)], 0, traffic)
    return traffic


@pytest.mark.parametrize(
    ("body", "sectors", "used"),
    [
        ("x[i] = 1;", 4, 1.0),
        ("x[8 * i] = 1;", 32, 1 / 8),
        ("x[i + 1] = 1;", 5, 0.8),
        ("((float4*)x)[i] = {1, 1, 1, 1};", 16, 1.0),
        ("if (i < 8) x[i] = 1;", 1, 1.0),
        ("x[32 * (i % 2) + i / 2] = 1;", 4, 1.0),
    ],
)
def test_sectors(body: str, sectors: int, used: float) -> None:
    found = counted(body)
    assert (found.sectors, found.used) == (sectors, pytest.approx(used))


@pytest.mark.parametrize(
    ("body", "turns", "least"),
    [
        ("kept[i] = x[i];", 1, 1),
        ("kept[2 * i] = x[i];", 2, 1),
        ("kept[32 * i % 1024] = x[i];", 32, 1),
        ("kept[33 * i % 1024] = x[i];", 1, 1),
        ("((float4*)kept)[i] = {x[i], 0, 0, 0};", 4, 4),
        ("((float4*)kept)[8 * i % 256] = {x[i], 0, 0, 0};", 32, 4),
        ("((float2*)kept)[i] = {x[i], 0};", 2, 2),
    ],
)
def test_banks(body: str, turns: int, least: int) -> None:
    found = counted(body + " __syncthreads(); x[i] = kept[0];")  # all read one word: one turn
    assert (found.turns, found.least_turns) == (turns + 1, least + 1)


def test_instructions() -> None:
    few, more = (counted(f"for (int n = 0; n < {n}; ++n) x[i] = x[i] * n;") for n in (1, 3))
    assert few.instructions < more.instructions < 100


@every_type
@pytest.mark.parametrize("backward", [False, True])
def test_attention(dtype: np.dtype, backward: bool) -> None:
    """Rows of 65 tokens by 64 numbers: the copies into shared memory cost TF32 a few turns more."""
    tokens, width, heads = 65, 64, 2
    qkv, y = (np.ones((1, tokens, n * width * heads), dtype) for n in (3, 1))
    b, partial, scale = np.ones(3 * width * heads, dtype), np.empty((1, 3 * width * heads), np.float32), np.float32(1)
    traffic, program = Traffic(), attention_program(tokens, width, heads, dtype.name)
    size = shared_bytes(tokens, width, dtype.itemsize, backward)
    if backward:
        arguments = [y, qkv, b, scale, np.empty_like(qkv), partial]
        run(program, "attention_backward", (heads,), (160,), arguments, size, traffic)
    else:
        run(program, "attention", (heads,), (160,), [qkv, b, scale, y], size, traffic)
    assert traffic.used > 0.95
    assert traffic.conflicts < (1.15 if dtype == np.float32 else 1.01)


@every_type
def test_passes_over_memory(dtype: np.dtype) -> None:
    """Layer norm, bias and GELU, the residual sum: what is fetched is asked for, but for a few bytes of a hundred."""
    rows, width, real = 64, 384, np.float32
    x, dy, y = (np.ones((rows, width), dtype) for _ in range(3))
    g, b, mean = np.ones(width, dtype), np.ones(width, dtype), np.ones(rows, real)
    norm, vector = build("layer_norm", dtype.name, WIDTH=width), 16 // dtype.itemsize
    columns, size = build("columns", dtype.name, VECTOR=vector, ERF=0), [np.int32(rows), np.int32(width)]
    nothing, partial = [None, np.int32(0), np.float32(0)], np.empty((2, 2 * width), real)
    across = width // vector // 32
    launches = {
        "layer_norm": (norm, (16,), (128,), [x, g, b, real(1e-6), np.int32(rows), y, mean, mean.copy()], 0),
        "layer_norm_backward": (norm, (2,), (128,),
                                [dy, x, g, mean, mean.copy(), x.copy(), np.int32(rows), y, partial], 8 * 4 * width),
        "bias_gelu": (columns, (across, 16), (32,), [x, b, *nothing, real(1), np.int32(1), *size, y, None], 0),
        "residual": (build("residual", dtype.name), (12,), (256,),
                     [x, dy, *nothing, np.float32(0), real(1), np.int64(x.size), np.int32(width), y, None], 0),
    }  # fmt: skip
    for name, (program, grid, block, arguments, shared) in launches.items():
        traffic = Traffic()
        run(program, name, grid, block, arguments, shared, traffic)
        assert traffic.used > 0.95, name
