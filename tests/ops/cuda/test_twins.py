"""The fused twins against their readable functions in float64, one by one and as a whole model."""

from __future__ import annotations

import types
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from helpers import stand_in
from helpers.device import waits

from minivit import functions as fn
from minivit.gradcheck.catalog import DROP_KEY, FUNCTIONS, TINY, Case, normal, random_params
from minivit.interpret import attention_distance, attention_rollout, rollout_images
from minivit.model import named, vit, vit_backward
from minivit.model.params import map_tree
from minivit.ops.cuda import attention_in_tiles as in_tiles
from minivit.ops.cuda.attention_by_products import ByProducts
from minivit.ops.cuda.attention_in_tiles import InTiles
from minivit.ops.cuda.products import exact_products

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
DTYPES = [np.dtype(np.float64), np.dtype(np.float32), BFLOAT16]
# Relative L2 error a tensor. float32 here is computed exactly; what TF32 costs is a test of its own.
TOLERANCE = {DTYPES[0]: 1e-12, DTYPES[1]: 2e-6, BFLOAT16: 2e-2}
SAME_CACHE = ("linear", "layer_norm", "prepend_class_token", "add_positions")
TWINS = (*SAME_CACHE, "mlp", "multi_head_attention", "dropout", "residual")
CASES = {name: case for name, case in FUNCTIONS.items() if case.f.__name__ in TWINS}
CASES["mlp of 16"] = FUNCTIONS["mlp"]._replace(  # its dropout goes with GELU
    args=(normal(1, 2, 3, 8), normal(2, 8, 16), normal(3, 16), normal(4, 16, 8), normal(5, 8), "erf", 0.3, DROP_KEY)
)

every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def is_array(x: Any) -> bool:
    return isinstance(x, np.ndarray)


def error(found: Any, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found.get().astype(np.float64) - expected) / max(np.linalg.norm(expected), 1e-300))


def as_tuple(x: Any) -> tuple[Any, ...]:
    return x if isinstance(x, tuple) else (x,)


@every_dtype
@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_twin_equals_its_readable_function(xp: Any, ops: types.ModuleType, case: Case, dtype: np.dtype) -> None:
    rounded = [a.astype(dtype) if is_array(a) else a for a in case.args]
    y_expected, cache_expected = case.f(*(a.astype(np.float64) if is_array(a) else a for a in rounded))
    dy = np.random.default_rng(0).standard_normal(y_expected.shape).astype(dtype)
    expected = as_tuple(case.f_backward(dy.astype(np.float64), cache_expected))

    name = case.f.__name__
    given = [xp.asarray(a) if is_array(a) else a for a in rounded]
    with exact_products():
        y, cache = getattr(ops, name)(*given)
        assert type(cache) is not type(cache_expected) or name in SAME_CACHE, "the twin itself ran"
        found = as_tuple(getattr(ops, f"{name}_backward")(xp.asarray(dy), cache))
    assert y.dtype == dtype
    assert error(y, y_expected) < TOLERANCE[dtype]
    wide = np.float64 if dtype == np.float64 else np.float32
    for i, (mine, theirs) in enumerate(zip(found, expected, strict=True)):
        assert mine.shape == theirs.shape
        assert mine.dtype == (dtype if i < case.like_x else wide)
        assert error(mine, theirs) < TOLERANCE[dtype], i
    for before, after in zip(rounded, given, strict=True):  # nothing was changed
        assert not is_array(before) or np.array_equal(before, after.get())


@every_dtype
def test_two_gradients_of_a_stream_add_up(xp: Any, ops: types.ModuleType, dtype: np.dtype) -> None:
    rng = np.random.default_rng(0)
    z, dz, dx = (rng.standard_normal((3, 5, 8)).astype(dtype) for _ in range(3))
    g, b = (rng.standard_normal(8).astype(dtype) for _ in range(2))
    exact = [a.astype(np.float64) for a in (z, g, b, dz, dx)]
    x_expected, cache_expected = fn.pre_norm(*exact[:3])
    x, cache = ops.pre_norm(*map(xp.asarray, (z, g, b)))
    assert error(x, x_expected) < TOLERANCE[dtype]
    for turn in (slice(None), slice(None, None, -1)):  # also of views that are not contiguous
        given = xp.asarray(dz[:, turn])[:, turn], xp.asarray(dx[:, turn])[:, turn]
        found = ops.pre_norm_backward(*given, cache)
        for mine, theirs in zip(found, fn.pre_norm_backward(*exact[3:], cache_expected), strict=True):
            assert error(mine, theirs) < TOLERANCE[dtype]
        assert found[0].dtype == dtype


@pytest.mark.parametrize("shape", [(2, 8), (4, 5, 8), (3, 5, 4)])
def test_nothing_is_read_beyond_a_gradient_of_another_shape(xp: Any, ops: types.ModuleType, shape: Any) -> None:
    x, g, dy = (xp.asarray(np.ones(s, np.float32)) for s in ((3, 5, 8), (8,), shape))
    cache = ops.layer_norm(x, g, g)[1]
    with pytest.raises(ValueError, match="broadcast"):
        ops.layer_norm_backward(dy, cache)
    with pytest.raises(ValueError, match="broadcast"):
        ops.pre_norm_backward(dy, dy, cache)


def test_what_cannot_be_is_refused_as_by_the_readable_functions(xp: Any, ops: types.ModuleType) -> None:
    x = xp.asarray(np.ones((2, 3, 8), np.float32))
    for call in (
        lambda: ops.dropout(x, 1.5, None),
        # In bfloat16 the mask would go with GELU.
        lambda: ops.mlp(*(xp.asarray(a.astype(BFLOAT16)) for a in CASES["mlp of 16"].args[:5]), "tanh", -0.1, None),
        lambda: ops.residual(x, x, 0.0, 1.0, None),
    ):
        with pytest.raises(ValueError, match=r"is not in \[0, 1\)"):
            call()
    given = [xp.asarray(a) if is_array(a) else a for a in CASES["multi_head_attention"].args]
    for queries in (0, 6):
        with pytest.raises(ValueError, match=f"queries is {queries}"):
            ops.multi_head_attention(*given, queries)


def attention_case(tokens: int, heads: int, width: int, dtype: Any = BFLOAT16) -> tuple[list[Any], Any]:
    """Arguments of multi-head attention, and a dy."""
    rng, channels = np.random.default_rng(tokens), heads * width
    shapes = [(2, tokens, channels), (channels, 3 * channels), (3 * channels,), (channels, channels), (channels,)]
    scales = [1.0, channels**-0.5, 1.0, channels**-0.5, 1.0]
    arrays = [(s * rng.standard_normal(shape)).astype(dtype) for s, shape in zip(scales, shapes, strict=True)]
    return [*arrays, heads], rng.standard_normal(shapes[0]).astype(dtype)


# Of 65 tokens and heads of 64 numbers, as CIFAR's are, the backward pass asks for more shared memory than is given.
ROUTES = [
    (5, 2, 16, InTiles),
    (17, 2, 32, InTiles),
    (65, 1, 64, InTiles),
    (9, 2, 8, ByProducts),
    (130, 1, 16, ByProducts),
]


@pytest.mark.parametrize(("dtype", "tolerance"), [(BFLOAT16, TOLERANCE[BFLOAT16]), (np.float32, 2e-3)], ids=str)
@pytest.mark.parametrize(("tokens", "heads", "width", "route"), ROUTES)
def test_attention_by_either_route(
    xp: Any, ops: types.ModuleType, dtype: Any, tolerance: float, tokens: int, heads: int, width: int, route: type
) -> None:
    given, dy = attention_case(tokens, heads, width, dtype)
    exact = [a.astype(np.float64) if is_array(a) else a for a in given]
    y_expected, cache_expected = fn.multi_head_attention(*exact)
    expected = fn.multi_head_attention_backward(dy.astype(np.float64), cache_expected)
    y, cache = ops.multi_head_attention(*(xp.asarray(a) if is_array(a) else a for a in given))
    assert isinstance(cache.attention, route)
    found = ops.multi_head_attention_backward(xp.asarray(dy), cache)
    assert error(y, y_expected) < tolerance
    assert error(cache.attention.p, cache_expected.attention.p) < tolerance
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.shape == theirs.shape
        assert error(mine, theirs) < tolerance


@pytest.mark.parametrize("name", ["attention", "layer_norm", "gelu_erf", "cross_entropy", "add_positions"])
def test_readable_functions_keep_bfloat16(xp: Any, name: str) -> None:
    """CuPy widens it more readily than NumPy: by a number of Python's, or by `where`."""
    case = FUNCTIONS[name]
    given = [xp.asarray(a.astype(BFLOAT16)) if is_array(a) and a.dtype.kind == "f" else a for a in case.args]
    given = [xp.asarray(a) if is_array(a) else a for a in given]
    if name == "attention":  # whose products of stacks CuPy has not
        q, k, v = (a[0, 0] for a in given)
        given = [q, k, v]
    y, cache = case.f(*given)
    if y.ndim:  # a loss is wider
        assert y.dtype == BFLOAT16
    dx = as_tuple(case.f_backward(xp.ones_like(y), cache))[0]
    assert dx.dtype == BFLOAT16


def test_attention_maps_in_bfloat16_can_be_looked_at(xp: Any, ops: types.ModuleType) -> None:
    given, _ = attention_case(5, 2, 16)
    _, cache = ops.multi_head_attention(*(xp.asarray(a) if is_array(a) else a for a in given))
    p = cache.attention.p
    for found in (attention_rollout([p, p]), rollout_images([p, p], (2, 2)), attention_distance(p, (2, 2), (4, 4))):
        assert found.dtype == BFLOAT16
    exact = p.get().astype(np.float64)
    assert error(attention_rollout([p, p]), attention_rollout([exact, exact])) < TOLERANCE[BFLOAT16]


def test_tiles_are_for_what_they_have_room_for(xp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fits(tokens: int, width: int, dtype: Any = BFLOAT16) -> bool:
        return in_tiles.fits(xp.zeros((1, tokens, 2 * width), dtype=dtype), 2)

    assert fits(65, 64)
    assert not fits(129, 64)
    assert not fits(65, 24)
    assert not fits(65, 80)
    assert not fits(65, 64, np.float64)
    assert fits(65, 64, np.float32)
    with exact_products():
        assert fits(65, 64)
        assert not fits(65, 64, np.float32), "it would be multiplied as TF32"
    assert in_tiles.room_for(65, 64, 4), "CIFAR's sequences fit on every GPU, in TF32 too"
    assert not in_tiles.room_for(101, 64, 4)
    assert in_tiles.room_for(101, 64, 4, 227 * 1024)
    monkeypatch.setattr(in_tiles, "shared_limit", lambda xp: 70 * 1024)  # less than a block of 65 tokens needs
    assert not fits(65, 64)
    assert fits(33, 64)


def test_older_gpus_have_no_tiles_and_no_tf32(xp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if xp is not stand_in.module:
        pytest.skip("the GPU is as old as it is")
    x = np.random.default_rng(0).standard_normal((5, 40)).astype(np.float32)
    exact = x.astype(np.float64) @ x.T
    for capability, tf32 in (("75", False), ("80", True)):
        device = types.SimpleNamespace(
            id=0, compute_capability=capability, attributes={"MaxSharedMemoryPerBlockOptin": 232448}
        )
        monkeypatch.setattr(xp.cuda, "Device", lambda device=device: device)
        assert in_tiles.fits(xp.zeros((1, 5, 32), dtype=np.float32), 2) == tf32
        with exact_products(False):
            found = (xp.asarray(x) @ xp.asarray(x.T.copy())).get()
        assert (np.linalg.norm(found - exact) / np.linalg.norm(exact) > 1e-5) == tf32


@every_dtype
@pytest.mark.parametrize("name", ["mlp", "multi_head_attention", "residual", "dropout"])
def test_a_gradient_of_another_type_or_place(xp: Any, ops: types.ModuleType, dtype: np.dtype, name: str) -> None:
    """dy in float64 for functions in another type, and beginning where no kernel reads 16 bytes."""
    case = next(case for case in CASES.values() if case.f.__name__ == name)
    # Attention's weights in the catalogue make for large scores, of which bfloat16 keeps few digits.
    args = attention_case(5, 2, 16)[0] if name == "multi_head_attention" else case.args
    rounded = [a.astype(dtype) if is_array(a) else a for a in args]
    y_expected, cache_expected = case.f(*(a.astype(np.float64) if is_array(a) else a for a in rounded))
    dy = np.random.default_rng(0).standard_normal(y_expected.size + 1).astype(dtype)
    other = np.dtype(np.float64 if name in ("mlp", "multi_head_attention") else dtype)
    expected = as_tuple(case.f_backward(dy[1:].astype(np.float64).reshape(y_expected.shape), cache_expected))
    with exact_products():
        _, cache = getattr(ops, name)(*(xp.asarray(a) if is_array(a) else a for a in rounded))
        given = xp.asarray(dy.astype(other))[1:].reshape(y_expected.shape)
        found = as_tuple(getattr(ops, f"{name}_backward")(given, cache))
    assert all(found[i].dtype == other for i in range(case.like_x))
    for mine, theirs in zip(found, expected, strict=True):
        assert error(mine, theirs) < TOLERANCE[dtype]


SWITCHES = {
    "class token, tanh": TINY.replace(depth=2, dropout=0.2, drop_path=0.3),
    "mean, erf": TINY.replace(pooling="mean", positions="sincos", gelu="erf", dropout=0.2),
    "no positions, nothing dropped": TINY.replace(positions="none"),
    "heads of 16 numbers": TINY.replace(width=32, heads=2, depth=2, dropout=0.2),
}
PRECISIONS = {"float64": (np.float64, 1e-10), "float32": (np.float32, 1e-5), "tf32": (np.float32, 2e-3)}
PRECISIONS["bfloat16"] = (BFLOAT16, 2e-2)


@pytest.mark.parametrize("config", SWITCHES.values(), ids=list(SWITCHES))
@pytest.mark.parametrize("precision", PRECISIONS)
def test_gradients_of_the_model(xp: Any, ops: types.ModuleType, config: Any, precision: str) -> None:
    """Against the readable model in float64 on NumPy, on the same rounded numbers; the whole gradient counts."""
    dtype, tolerance = PRECISIONS[precision]
    rng = np.random.default_rng(5)
    rounded = map_tree(lambda x: x.astype(dtype), random_params(config))
    images = rng.standard_normal((4, config.channels, *config.image_size)).astype(dtype)
    dlogits = rng.standard_normal((4, config.classes)).astype(dtype)
    exact = map_tree(lambda x: x.astype(np.float64), rounded)
    _, cache = vit(exact, images.astype(np.float64), config, key=DROP_KEY)
    expected = dict(named(vit_backward(dlogits.astype(np.float64), cache)))

    with exact_products(precision != "tf32"):
        _, cache = vit(map_tree(xp.asarray, rounded), xp.asarray(images), config, key=DROP_KEY, ops=ops)
        found = dict(named(vit_backward(xp.asarray(dlogits), cache)))
    difference = sum(np.linalg.norm(found[n].get().astype(np.float64) - x) ** 2 for n, x in expected.items()) ** 0.5
    total = sum(np.linalg.norm(x) ** 2 for x in expected.values()) ** 0.5
    assert difference / total < tolerance
    if precision == "tf32":
        assert difference / total > 1e-6, "the switch has an effect"


def test_the_namespace_is_complete(xp: Any, ops: types.ModuleType) -> None:
    assert all(hasattr(ops, name) for name in fn.__all__ if name.islower())


def test_nothing_waits_for_the_device(xp: Any, ops: types.ModuleType) -> None:
    config = TINY.replace(depth=2, dropout=0.2, drop_path=0.3)
    params = map_tree(lambda x: xp.asarray(x.astype(np.float32)), random_params(config))
    images, dlogits = (
        xp.zeros((4, config.channels, *config.image_size), np.float32),
        xp.ones((4, config.classes), np.float32),
    )
    before = waits(xp)
    _, cache = vit(params, images, config, key=DROP_KEY, ops=ops)
    vit_backward(dlogits, cache)
    assert waits(xp) == before
