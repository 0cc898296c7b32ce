"""The kernels' arithmetic, run on the CPU, against the readable functions in float64.

Each is run twice: its source as g++ compiles it, and the PTX that NVIDIA's compiler makes of it.
"""

from __future__ import annotations

import numpy as np
import pytest
from helpers.kernel_cases import Run, address_of, assert_close, exact, random, real_of

from minivit import functions as fn
from minivit.data import normalise, random_crop_and_flip
from minivit.ops.cuda.gather import PIECES
from minivit.ops.cuda.source import build
from minivit.randomness import Key, generator
from minivit.training.optimizers import adamw, clip_by_norm, fresh_moments
from minivit.training.settings import TrainSettings


@pytest.mark.parametrize("width", [384, 36, 7])
@pytest.mark.parametrize("with_stream", [False, True])
def test_layer_norm(run: Run, dtype: np.dtype, width: int, with_stream: bool) -> None:
    rows, blocks, real = 11, 2, real_of(dtype)
    x, dy, dz = (random(rows, width, dtype=dtype, seed=i) for i in range(3))
    g, b = (random(width, dtype=dtype, seed=i) for i in (3, 4))
    y, dx = np.empty_like(x), np.empty_like(x)
    mean, rstd, partial = np.empty(rows, real), np.empty(rows, real), np.empty((blocks, 2, width), real)
    program = build("layer_norm", dtype.name, WIDTH=width)
    run(program, "layer_norm", (3,), (128,), [x, g, b, real(1e-6), np.int32(rows), y, mean, rstd])
    shared = 4 * 2 * width * np.dtype(real).itemsize
    given = [dy, x, g, mean, rstd, dz if with_stream else None, np.int32(rows), dx, partial]
    run(program, "layer_norm_backward", (blocks,), (128,), given, shared)
    expected, cache = fn.layer_norm(exact(x), exact(g), exact(b))
    dx_expected, dg, db = fn.layer_norm_backward(exact(dy), cache)
    assert_close(y, expected, dtype)
    assert_close(dx, dx_expected + exact(dz) if with_stream else dx_expected, dtype)
    assert_close(partial.sum(axis=0)[0], dg, dtype)
    assert_close(partial.sum(axis=0)[1], db, dtype)


@pytest.mark.parametrize("form", ["tanh", "erf"])
@pytest.mark.parametrize(("columns", "vector", "rate"), [(8, 4, 0.0), (16, 8, 0.0), (320, 8, 0.3), (7, 1, 0.0)])
def test_bias_gelu_and_dropout(
    run: Run, dtype: np.dtype, form: fn.GeluForm, columns: int, vector: int, rate: float
) -> None:
    rows, grid, real = 9, (-(-columns // (32 * vector)), 2), real_of(dtype)
    key, rows_of_image = Key(2**40 + 7, "dropout", 3, 11, site=6, image=10**9), 3  # beyond what 32 bits count
    pre, dh, b = (random(*s, dtype=dtype, seed=i) for i, s in enumerate([(rows, columns)] * 2 + [(columns,)]))
    x = (exact(pre) + exact(b)).astype(dtype)
    gelu, cache = fn.gelu(exact(x), form)
    expected, mask = fn.dropout(gelu.reshape(-1, rows_of_image, columns), rate, key)
    dx = fn.gelu_backward(fn.dropout_backward(exact(dh).reshape(expected.shape), mask).reshape(x.shape), cache)
    size, scale = [np.int32(rows), np.int32(columns)], real(1 / (1 - rate))
    how = [address_of(key) if rate else None, np.int32(6), np.float32(rate), scale, np.int32(rows_of_image)]
    bits = np.zeros((rows, columns // 8), np.uint8) if rate else None
    program = build("columns", dtype.name, VECTOR=vector, ERF=int(form == "erf"))
    h, partial, sums = np.empty_like(pre), np.empty((2, columns), real_of(dtype)), np.empty(columns, real_of(dtype))
    run(program, "bias_gelu", grid, (32,), [pre, b, *how, *size, h, bits])
    run(program, "gelu_backward", grid, (32,), [dh, pre, b, bits, scale, *size, partial])
    run(program, "sum_rows", (-(-columns // 32),), (1024,), [partial, np.int32(2), np.int32(columns), sums])
    assert_close(h, expected.reshape(h.shape), dtype)
    assert_close(dh, dx, dtype)
    assert_close(sums, dx.sum(axis=0), dtype)


@pytest.mark.parametrize("rows", [23, 13])  # of which a block of the sums takes five or six, and three or four
def test_bias_and_its_gradient(run: Run, dtype: np.dtype, rows: int) -> None:
    columns = 8
    y, b = random(rows, columns, dtype=dtype), random(columns, dtype=dtype)
    expected = exact(y) + exact(b)
    program = build("columns", dtype.name, VECTOR=4, ERF=0)
    size = [np.int32(rows), np.int32(columns)]
    partial = np.empty((4, columns), real_of(dtype))
    run(program, "column_sums", (1, 4), (32,), [y, *size, partial])
    assert_close(partial.sum(axis=0), exact(y).sum(axis=0), dtype)
    apart = np.empty_like(y)
    for into in (apart, y):
        run(program, "add_bias", (1, 3), (32,), [y, b, *size, into])
        assert_close(into, expected, dtype)


@pytest.mark.parametrize(("width", "vector"), [(16, 8), (8, 4), (3, 1)])
def test_class_token_in_front_and_away_again(run: Run, dtype: np.dtype, width: int, vector: int) -> None:
    images, tokens = 5, 4
    x, token = random(images, tokens * width, dtype=dtype), random(width, dtype=dtype)
    y, back, program = (
        np.empty((images, 5 * width), dtype),
        np.empty_like(x),
        build("columns", dtype, VECTOR=vector, ERF=0),
    )
    grid, sizes = (-(-5 * width // (32 * vector)), 2), [np.int32(width), np.int32(images)]
    run(program, "prepend", grid, (32,), [x, token, *sizes, np.int32(5 * width), y])
    assert np.array_equal(y[:, :width], np.broadcast_to(token, (images, width)))
    assert np.array_equal(y[:, width:], x)
    run(program, "without_first", grid, (32,), [y, *sizes, np.int32(tokens * width), back])
    assert np.array_equal(back, x)


# Scores beyond what exp takes in float32, too; scaled by a power of two, which rounds none.
@pytest.mark.parametrize(("scale", "more"), [(0.3, 0), (0.25, 400)])
@pytest.mark.parametrize(("columns", "stride"), [(5, 8), (64, 64), (65, 72)])
def test_softmax_of_scores(run: Run, dtype: np.dtype, columns: int, stride: int, scale: float, more: int) -> None:
    rows, real = 5, real_of(dtype)
    s, dp = (random(rows, stride, dtype=dtype, seed=i) for i in range(2))
    s[1, :columns] += more
    p, cache = fn.softmax(exact(s[:, :columns]) * float(real(scale)))
    program = build("softmax", dtype.name, COLUMNS=columns, STRIDE=stride)
    run(program, "softmax", (2,), (128,), [s, real(scale), np.int32(rows)])
    assert_close(s[:, :columns], p, dtype)
    assert not s[:, columns:].any()
    ds = float(real(scale)) * fn.softmax_backward(exact(dp[:, :columns]), cache)
    run(program, "softmax_backward", (2,), (128,), [dp, s, real(scale), np.int32(rows)])
    assert_close(dp[:, :columns], ds, dtype)
    assert not dp[:, columns:].any()


@pytest.mark.parametrize("rate", [0.0, 0.3])
@pytest.mark.parametrize("path_rate", [0.0, 0.5])
@pytest.mark.parametrize("with_z", [True, False])
@pytest.mark.parametrize(("images", "per_image"), [(4, 21), (19, 3), (17, 8), (3, 200), (3, 1500), (3, 85)])
def test_residual_draws_the_masks_of_numpy(
    run: Run, dtype: np.dtype, rate: float, path_rate: float, with_z: bool, images: int, per_image: int
) -> None:
    """Also of more images than a block of the generator draws for, and of images smaller than a thread's numbers."""
    key = Key(2**40 + 7, "dropout", 3, 11, site=6, image=(0, 10**9, 5, 2**33)[images % 4])  # beyond 32 bits, too
    z, x, dy = (random(images, per_image, dtype=dtype, seed=i) for i in range(3))
    y, dx, bits, grid = np.empty_like(x), np.empty_like(x), np.empty(-(-x.size // 8), np.uint8), (-(-x.size // 256),)
    size, scale = np.int64(x.size), real_of(dtype)(1 / ((1 - rate) * (1 - path_rate)))
    numbers = [np.int32(key.site), np.float32(rate), np.float32(path_rate), scale, size, np.int32(per_image)]
    program = build("residual", dtype.name)
    run(program, "residual", grid, (32,), [z if with_z else None, x, address_of(key), *numbers, y, bits])
    branch, dropped = fn.dropout(exact(x), rate, key)
    branch, path = fn.drop_path(branch, path_rate, key.at(key.site + 1))
    assert_close(y, branch + exact(z) if with_z else branch, dtype)
    run(program, "residual_backward", grid, (32,), [dy, bits, scale, size, dx])
    assert_close(dx, fn.dropout_backward(fn.drop_path_backward(exact(dy), path), dropped), dtype)
    if rate == path_rate == 0.0:  # and without an address nothing is read there
        run(program, "residual", grid, (32,), [z, x, None, *numbers, y, None])
        assert_close(y, exact(z) + exact(x), dtype)


def test_uniform_numbers_are_numpys_bit_for_bit(run: Run) -> None:
    """With a rate just above or below a number, its mask changes: the draws themselves agree."""
    key = Key(5, "dropout", 1, 2, site=3)
    drawn = generator(key).random(50, dtype=np.float32)
    ones, y = np.ones(50, np.float32), np.empty(50, np.float32)
    for number in drawn[:10]:
        for rate in (number, np.nextafter(number, np.float32(1), dtype=np.float32)):
            numbers = [np.int32(3), rate, np.float32(0), np.float32(1), np.int64(50), np.int32(50)]
            run(build("residual", "float32"), "residual", (1,), (32,), [None, ones, address_of(key), *numbers, y, None])
            np.testing.assert_array_equal(y > 0, drawn >= rate)
            # And as the rate of drop path, of images of one number, whose masks lie at the next site.
            numbers = [np.int32(2), np.float32(0), rate, np.float32(1), np.int64(50), np.int32(1)]
            run(build("residual", "float32"), "residual", (1,), (32,), [None, ones, address_of(key), *numbers, y, None])
            np.testing.assert_array_equal(y > 0, drawn >= rate)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("classes", [10, 100])
def test_cross_entropy(run: Run, dtype: np.dtype, smoothing: float, classes: int) -> None:
    images, real = 6, real_of(dtype)
    lane = 35 if classes > 35 else 1
    logits, labels = random(images, classes, dtype=dtype), np.array([0, 3, 4, 7, 3, lane])
    logits[1, 3] = 50  # one that is sure, and right
    logits[2:4, [4, 7]] = 60  # and two that cannot decide: the first counts, be it the label or not
    logits[5, [c for c in (lane, lane + 32) if c < classes]] = 60  # equals whom the same lane sees
    if not smoothing:
        logits[0, 6] = -np.inf  # a class that is ruled out
    dlogits, found = np.empty_like(logits), np.empty((images, 2), real)
    sizes = [np.int32(images), np.int32(2 * images), np.int32(classes)]  # half of a batch
    program = build("cross_entropy", dtype.name)
    run(program, "cross_entropy", (2,), (128,), [logits, labels, real(smoothing), *sizes, dlogits, found])
    loss, cache = fn.cross_entropy(exact(logits), labels, float(real(smoothing)))
    assert_close(found[:, 0].mean(), loss, np.dtype(real))
    assert_close(dlogits, fn.cross_entropy_backward(0.5, cache), dtype)
    np.testing.assert_array_equal(found[:, 1], logits.argmax(axis=1) == labels)
    assert found[2:4, 1].tolist() == [1, 0]


@pytest.mark.parametrize("clip", [0.0, 0.5, 1e9])
def test_adamw(run: Run, dtype: np.dtype, clip: float) -> None:
    real, size, decayed, step = real_of(dtype), 700, 400, 2
    p, g = (random(size, dtype=np.dtype(real), seed=i) for i in range(2))
    m, v = 0.1 * random(size, dtype=np.dtype(real), seed=2), random(size, dtype=np.dtype(real), seed=3) ** 2
    settings = TrainSettings(weight_decay=0.1)
    p_exact, g_exact = exact(p), exact(g)
    moments = fresh_moments(p_exact, "adamw")
    moments.first[...], moments.second[...] = m, v
    norm = clip_by_norm(g_exact, clip)
    adamw(p_exact, g_exact, moments, step + 1, 1e-2, decayed, settings)

    b1, b2 = settings.beta1, settings.beta2
    table = np.array([[1e-2, 1 / (1 - b1**t), (1 - b2**t) ** -0.5] for t in range(1, 5)], real)
    partial, found, copy = np.empty(3, real), np.empty(2, real), np.empty(size, dtype)
    program = build("adamw", dtype.name)
    run(program, "sum_squares", (3,), (64,), [g, np.int64(size), partial])
    run(program, "clip_factor", (1,), (32,), [partial, np.int32(3), real(clip), found])
    numbers = [real(x) for x in (b1, b2, 1 - b1, 1 - b2, settings.adam_eps, settings.weight_decay)]
    sizes = [np.int64(decayed), np.int64(size)]
    run(program, "adamw", (11,), (64,), [p, g, m, v, copy, table, np.array([step]), found, *numbers, *sizes])
    assert_close(found[0], norm, np.dtype(real))
    for mine, theirs in ((p, p_exact), (m, moments.first), (v, moments.second)):
        assert_close(mine, theirs, np.dtype(real))
    np.testing.assert_array_equal(copy, p.astype(dtype))


@pytest.mark.parametrize("add", [False, True])
def test_gather(run: Run, add: bool) -> None:
    sizes, starts = [5, 700, 1], [0, 16, 720]
    arrays, buffer = [random(n, dtype=np.dtype(np.float32)) for n in sizes], np.full(730, 2.0, np.float32)
    pieces = np.zeros((), PIECES)
    pieces["from"][:3], pieces["start"][:3], pieces["size"][:3] = [a.ctypes.data for a in arrays], starts, sizes
    expected = buffer.copy()
    for start, x in zip(starts, arrays, strict=True):
        expected[start : start + len(x)] = x + 2 if add else x
    run(build("gather", "float32", COUNT=128), "gather", (2, 3), (64,), [buffer, pieces, np.int32(add)])
    np.testing.assert_array_equal(buffer, expected)


@pytest.mark.parametrize(("padding", "flip"), [(4, True), (0, True), (2, False)])
def test_augment(run: Run, dtype: np.dtype, padding: int, flip: bool) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (7, 3, 8, 12), np.uint8)
    index, key, real = np.array([6, 0, 3, 3, 1], np.int32), Key(4, "augment", 1, 2), real_of(dtype)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    images = random_crop_and_flip(pictures[index], key, padding, flip)
    expected, _ = fn.patchify(normalise(images, mean, std, np.float64), (2, 4))

    rng = generator(key)
    mirrored = (rng.random(len(index)) < 0.5) & flip
    top, left = rng.integers(0, 2 * padding + 1, (2, len(index)))
    moves = np.stack([top, left, mirrored], axis=1).astype(np.int32)
    scale, shift = (1 / (255 * np.array(std))).astype(real), (-np.array(mean) / np.array(std)).astype(real)
    patches = np.empty(expected.shape, dtype)
    program = build("augment", dtype.name, CHANNELS=3, HEIGHT=8, COLUMNS=12, PATCH_ROWS=2, PATCH_COLUMNS=4)
    sizes = [np.int32(len(index)), np.int32(padding)]
    run(program, "augment", (6,), (256,), [pictures, index, moves, scale, shift, *sizes, patches])
    assert_close(patches, expected, dtype)


def test_the_stand_in_refuses_wrong_types(run: Run) -> None:
    program, x = build("columns", "float32", VECTOR=1, ERF=0), np.zeros((2, 3), np.float32)
    with pytest.raises(TypeError, match="rows needs a scalar of int32"):
        run(program, "add_bias", (1,), (32,), [x, x[0], 2, np.int32(3), x])
    with pytest.raises(TypeError, match="b needs a contiguous array of float32, got float64"):
        run(program, "add_bias", (1,), (32,), [x, np.zeros(3), np.int32(2), np.int32(3), x])
    with pytest.raises(TypeError, match="x needs a contiguous array"):
        run(program, "add_bias", (1,), (32,), [x.T, x[0], np.int32(2), np.int32(3), x])
    with pytest.raises(TypeError, match="takes 5 arguments, got 3"):
        run(program, "add_bias", (1,), (32,), [x, x[0], np.int32(2)])
