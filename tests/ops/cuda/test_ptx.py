"""The machine that runs PTX finds what would crash on a GPU, or give numbers that nobody can foresee."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from helpers.ptx import AVAILABLE, NEEDS, compiled, launch
from helpers.ptx.memory import KernelError

from minivit.arrays import Array
from minivit.ops.cuda.attention_in_tiles import program, shared_bytes
from minivit.ops.cuda.source import source

pytestmark = pytest.mark.skipif(not AVAILABLE, reason=NEEDS)

THREADS = 64


def run(body: str, x: Array, *others: Any, blocks: int = 1) -> Array:
    """A kernel of two warps a block; `x` is its array, i the thread, `kept` an array in shared memory."""
    types = "".join(f", {'long long' if y.dtype == np.int64 else 'int'} n" for y in others)
    text = f"""extern "C" __global__ void f({x.dtype}* x{types}) {{
        __shared__ float kept[64]; const int i = threadIdx.x; {body} }}"""
    launch(compiled(text.replace("float32", "float"))["f"], (blocks,), THREADS, [x, *others])
    return x


def numbers(count: int = THREADS) -> Array:
    return np.arange(count, dtype=np.float32)


def test_what_is_in_order() -> None:
    found = run("kept[i] = x[i]; __syncthreads(); x[i] = kept[63 - i];", numbers())
    np.testing.assert_array_equal(found, numbers()[::-1])
    found = run("kept[i] = x[i]; __syncwarp(); x[i] = kept[i ^ 1];", numbers())
    np.testing.assert_array_equal(found, np.arange(THREADS) ^ 1)
    twice = "kept[i] = x[i]; __syncthreads(); x[i] = kept[63 - i]; __syncthreads();"
    found = run(f"for (int n = 0; n < 3; ++n) {{ {twice} }}", numbers())
    np.testing.assert_array_equal(found, numbers()[::-1])
    run("kept[i] = i; __syncthreads(); float s = 0; for (int n = 0; n < 64; ++n) s += kept[n]; "
        "__syncthreads(); kept[63 - i] = s; x[i] = kept[63 - i];", numbers())  # fmt: skip


def test_a_block_of_no_whole_number_of_warps() -> None:
    """Fine where no warp has to be whole."""
    text = compiled('extern "C" __global__ void f(float* x) { x[threadIdx.x] += 1; }')["f"]
    x = numbers(40)
    launch(text, (1,), 40, [x])
    np.testing.assert_array_equal(x, numbers(40) + 1)
    text = compiled('extern "C" __global__ void f(float* x) { x[threadIdx.x] = __shfl_xor_sync(~0u, 1.f, 1); }')["f"]
    with pytest.raises(KernelError, match="a block of 40 threads is no whole number of warps"):
        launch(text, (1,), 40, [x])


def test_a_block_of_more_threads_than_a_kernel_was_compiled_for() -> None:
    text = 'extern "C" __global__ __launch_bounds__(32) void f(float* x) { x[threadIdx.x] += 1; }'
    launch(compiled(text)["f"], (1,), 32, [numbers(32)])
    with pytest.raises(KernelError, match="f: blocks of 64 threads, compiled for 32"):
        launch(compiled(text)["f"], (1,), 64, [numbers()])


def test_memory_of_a_threads_own() -> None:
    body = "float y[9]; double z[3]; for (int n = 0; n < 9; ++n) { y[n * i % 9] = x[n]; z[n % 3] = x[n + 1]; }"
    expected = numbers()
    for i in range(THREADS):
        y = {n * i % 9: n for n in range(9)}
        expected[i] = y[i % 9] + (7 + i % 3)
    run("float r; { " + body + " r = y[i % 9] + z[i % 3]; } __syncthreads(); x[i] = r;", x := numbers())
    np.testing.assert_array_equal(x, expected)
    with pytest.raises(KernelError, match="thread 1 of block 0 reads what nobody has written, in local memory"):
        run("float y[9]; y[2 * i % 9] = x[i]; x[i] = y[i % 9];", numbers())
    with pytest.raises(KernelError, match="thread 9 of block 0 writes beyond the 36 bytes of local memory"):
        run("float y[9]; y[i] = x[i]; x[i] = y[i / 2];", numbers())


def test_bits_are_counted() -> None:
    np.testing.assert_array_equal(run("x[i] = __popc(i * 1000003);", numbers())[3], (3 * 1000003).bit_count())


def test_lanes_exchange_numbers() -> None:
    found = run("x[i] = __shfl_sync(0xffffffff, x[i], (i * 5 + 3) % 32);", numbers())
    np.testing.assert_array_equal(found, [i // 32 * 32 + (i * 5 + 3) % 32 for i in range(THREADS)])
    np.testing.assert_array_equal(run("x[i] = __shfl_xor_sync(0xffffffff, x[i], 9);", numbers()), np.arange(64) ^ 9)


def test_threads_that_part_meet_again() -> None:
    body = """float y = x[i];
        if (i % 3) { for (int n = 0; n < i; ++n) y = y * 0.5f + 1; } else y = -y;
        if (i == 7) { x[i] = y; return; }
        x[i] = y + __shfl_xor_sync(0xffffffff, i, 0) * 0;"""
    with pytest.raises(KernelError, match="not all threads of a warp are there"):
        run(body, numbers())
    y = numbers()
    for i in range(THREADS):
        for _ in range(i if i % 3 else 0):
            y[i] = y[i] * 0.5 + 1
    y[::3] *= -1
    np.testing.assert_array_equal(run(body.replace("if (i == 7) { x[i] = y; return; }", ""), numbers()), y)


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("x[i + 1] = 0;", "thread 63 of block 0 writes 4 bytes outside of every array"),
        ("x[i - 1] += 1;", "thread 0 of block 0 reads 4 bytes outside of every array"),
        ("*(float*)((char*)x + i) = 0;", "thread 1 of block 0 writes 4 bytes at an address that is no multiple of 4"),
        ("*(float4*)(x + i % 60) = {};", "writes 16 bytes at an address that is no multiple of 16"),
        ("x[i] = kept[i];", "thread 0 of block 0 reads what nobody has written"),
        ("kept[i + 1] = x[i]; __syncthreads(); x[i] = kept[i];",
         "thread 63 of block 0 writes beyond the 256 bytes of shared memory"),
        ("kept[i] = x[i]; x[i] = kept[i ^ 1];", "reads what another thread writes, with no barrier between"),
        ("kept[i] = x[i]; __syncwarp(); x[i] = kept[i ^ 32];", "reads what another thread writes, with no barrier"),
        ("kept[i] = x[i]; __syncthreads(); float y = kept[i ^ 1]; kept[i] = y; x[i] = y;",
         "writes what another thread reads"),
        ("kept[i] = 0; __syncthreads(); kept[i ^ 1] = 1; kept[i] = 2; __syncthreads(); x[i] = kept[i];",
         "writes where another thread writes, with no barrier between"),
        ("kept[i / 2] = x[i]; __syncthreads(); x[i] = kept[i / 2];",
         "writes where another thread writes at the same time"),
        ("x[i ^ 1] = x[i];", "writes what another thread reads"),
        ("if (i & 1) { kept[i] = x[i]; __syncthreads(); } else { kept[i] = 1; __syncthreads(); } x[i] = kept[i];",
         "not all threads of a warp are there"),
        ("if (i == 3) return; if (i < 32) __syncwarp(); x[i] = __shfl_xor_sync(0xffffffff, x[i], 1);",
         "not all threads of a warp are there"),
    ],
)  # fmt: skip
def test_what_is_not(body: str, what: str) -> None:
    with pytest.raises(KernelError, match=f"^f: .*{what}.* \\("):
        run(body, numbers())


def test_memory_of_another_kernel_is_not_this_one_s() -> None:
    text = """extern "C" __global__ void g(float* x) { __shared__ float other[64]; other[threadIdx.x] = x[threadIdx.x];
        __syncthreads(); x[threadIdx.x] = other[threadIdx.x ^ 1]; }
        extern "C" __global__ void f(float* x) { __shared__ float kept[3]; const int i = threadIdx.x;
        if (i < 4) kept[i] = x[i]; __syncthreads(); x[i] = kept[i % 3]; }"""
    with pytest.raises(KernelError, match="thread 3 of block 0 writes beyond the 12 bytes of shared memory"):
        launch(compiled(text)["f"], (1,), THREADS, [numbers()])


@pytest.mark.parametrize("expression", ["__fadd_rz(n, 0.1f)", "__fmaf_ru(n, 0.1f, 1.0f)", "__sinf(n)"])
def test_what_is_not_known_is_said(expression: str) -> None:
    with pytest.raises(NotImplementedError, match="this machine does not know"):
        run(f"x[i] = {expression};", numbers(), np.int32(3))


def test_blocks_are_in_no_order() -> None:
    with pytest.raises(KernelError, match="writes where another thread writes"):
        run("x[i] = blockIdx.x;", numbers(), blocks=2)
    with pytest.raises(KernelError, match=r"of block . (reads|writes) what another thread (reads|writes)"):
        run("x[i + 64 * blockIdx.x] = x[i];", numbers(128), blocks=2)


def test_a_barrier_for_some_is_passed_when_the_others_are_done() -> None:
    run("if (i < 32) { kept[i] = x[i]; __syncthreads(); x[i] = kept[31 - i]; }", numbers())


@pytest.mark.parametrize(
    ("expression", "n", "expected"),
    [
        ("n / 7", np.int32(-20), -2),
        ("n % 7", np.int32(-20), -6),
        ("n >> 3", np.int32(-20), -3),
        ("(unsigned)n >> 28", np.int32(-1), 15),
        ("(int)(n * 3000000000ll >> 32)", np.int64(5), 3),
        ("__funnelshift_l(0x80000001u, n, 4)", np.int32(1), 24),
        ("__funnelshift_r(16, n, 4)", np.int32(2), 536870913),
        ("n % n", np.int32(-20), 0),
        ("n % (n + 27)", np.int32(-20), -6),
        ("n % (n + 27)", np.int64(-20), -6),
        ("__umul64hi(n, 0xfedcba9876543210ull) >> 40", np.int64(2**62 + 12345), 0xFEDCBA9876543210 >> 42),
        ("__umulhi(n, 0xfedcba98u) >> 8", np.int32(2**30), 0xFEDCBA98 >> 10),
        ("n / 1000003", np.int64(-(10**15)), -999997000),
        ("(float)(unsigned char)n", np.int32(300), 44),
        ("1.0f / n", np.int32(3), np.float32(1) / np.float32(3)),
        ("sqrtf(n)", np.int32(2), np.sqrt(np.float32(2))),
        ("(float)(sqrt((double)n) - 1.4142135623730951)", np.int32(2), 0),
        ("(float)(fma((double)n, 1.0 / 3, -1.0) * 1e17)", np.int32(3), -5.551115),
        ("expf(n)", np.int32(1), np.exp(np.float32(1))),
        ("erff(n * 0.25f)", np.int32(3), 0.71115563),
        ("(float)(fma((double)n, 1e300, -1.0) - 3e300)", np.int32(3), 0),
        ("floorf(n * 0.9f)", np.int32(3), 2),
        ("ceilf(n * 0.9f)", np.int32(3), 3),
        ("truncf(n * 0.9f)", np.int32(-3), -2),
        ("__float2int_rd(n * 0.9f)", np.int32(-3), -3),
        ("(int)(n * 1e20f)", np.int32(1), 2147483648),
        ("(int)(n * (1e30f * 1e30f) * 0)", np.int32(1), 0),
        ("(unsigned)(n * 1.0f)", np.int32(-5), 0),
        ("tanhf(n)", np.int32(-1), -0.76159416),
        ("isnan(n * (1e30f * 1e30f) * 0)", np.int32(1), 1),
        ("isnan(n * 1e30f)", np.int32(1), 0),
    ],
)
def test_arithmetic(expression: str, n: Any, expected: float) -> None:
    found = run(f"x[i] = {expression};", numbers(), n)
    np.testing.assert_allclose(found, np.float32(expected), rtol=2e-7, atol=1e-30)


WAITS = ("__syncthreads();", "__syncwarp();", "wait_for_copies();")
TEXT = source("attention")
PLACES = [m.start() for m in re.finditer("|".join(map(re.escape, WAITS)), TEXT)]


def attention(text: str, dtype: str) -> None:
    """Both kernels of attention.cu, on two images of 33 tokens and 2 heads of 16."""
    tokens, width, heads, images = 33, 16, 2, 2
    build = program(tokens, width, heads, dtype)
    kind = build_dtype(dtype)
    qkv, y = (np.ones((images, tokens, n * width * heads), kind) for n in (3, 1))
    b, partial = np.ones(3 * width * heads, kind), np.empty((images, 3 * width * heads), np.float32)
    both, grid, scale = compiled(text, build.options), (images * heads,), np.float32(0.25)
    sizes = [shared_bytes(tokens, width, kind.itemsize, back) for back in (False, True)]
    launch(both["attention"], grid, 96, [qkv, b, scale, y], sizes[0])
    dqkv = np.empty_like(qkv)
    launch(both["attention_backward"], grid, 96, [y, qkv, b, scale, dqkv, partial], sizes[1])


def build_dtype(name: str) -> np.dtype[Any]:
    import ml_dtypes

    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


@pytest.mark.parametrize("place", PLACES)
def test_every_wait_of_attention_is_needed(place: int) -> None:
    """Without it, the kernel is at fault, in one precision at least."""
    wait = next(w for w in WAITS if TEXT.startswith(w, place))
    attempts = []
    for dtype in ("bfloat16", "float32"):
        try:
            attention(TEXT[:place] + ";" + TEXT[place + len(wait) :], dtype)
        except KernelError as error:
            attempts.append(str(error))
    assert attempts, TEXT[place - 80 : place + 40]
