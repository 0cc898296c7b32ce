"""The parameter tree: names, initial distributions, seeds, and the flat buffer behind it."""

import math

import numpy as np
import pytest
from helpers.cases import TINY, random_params

from minivit.model import ViTConfig, count_params, flatten, init_params, named, variant
from minivit.model.params import BlockParams, ViTParams, map_tree, param_specs, tree_of

MIDDLE = ViTConfig(image_size=32, patch_size=4, classes=10, width=192, depth=2, heads=3, mlp_width=768)
every_tree = pytest.mark.parametrize("pooling", ["class_token", "mean"])
every_position = pytest.mark.parametrize("positions", ["learned", "sincos", "none"])


def middle():
    return dict(named(init_params(MIDDLE, seed=1, dtype=np.float64)))


@every_tree
@every_position
def test_names_and_shapes_are_those_of_the_table(pooling, positions):
    config = TINY.replace(pooling=pooling, positions=positions, depth=3)
    params = init_params(config)
    specs = param_specs(config)
    assert [(name, x.shape) for name, x in named(params)] == [(name, spec.shape) for name, spec in specs.items()]
    assert sum(x.size for _, x in named(params)) == count_params(config)
    assert (params.class_token is None) == (pooling == "mean")
    assert (params.positions is None) == (positions != "learned")
    assert len(params.blocks) == 3


def test_what_is_no_config_is_refused():
    with pytest.raises(TypeError, match=r"^count_params: config is of type str; expected ViTConfig, such as minivit"):
        count_params("micro/4")


def test_named_in_full():
    block = [f"blocks.0.{name}" for name in BlockParams._fields]
    first = ["patch_weight", "patch_bias", "class_token", "positions"]
    assert [name for name, _ in named(init_params(TINY))] == [
        *first, *block, "norm_gain", "norm_bias", "head_weight", "head_bias"
    ]  # fmt: skip


def test_gains_start_at_1_and_biases_head_and_class_token_at_0():
    for name, x in middle().items():
        if name.endswith("_gain"):
            assert np.all(x == 1.0), name
        elif name.endswith(("norm1_bias", "norm2_bias", "norm_bias", "qkv_bias", "out_bias", "patch_bias")) or name in (
            "class_token",
            "head_weight",
            "head_bias",
        ):
            assert np.all(x == 0.0), name
        else:
            assert np.unique(x).size == x.size, f"{name} is drawn, number by number"


@pytest.mark.parametrize(
    ("name", "fans"),
    [("qkv_weight", 192 + 192), ("out_weight", 192 + 192), ("fc1_weight", 192 + 768), ("fc2_weight", 768 + 192)],
)
def test_kernels_of_the_blocks_are_xavier_uniform(name, fans):
    """q, k and v are three square matrices that lie side by side: their fan-out is 192, not 576."""
    bound = math.sqrt(6.0 / fans)
    for i in range(2):
        x = middle()[f"blocks.{i}.{name}"]
        assert 0.999 * bound < np.abs(x).max() <= bound
        assert x.std() == pytest.approx(bound / math.sqrt(3), rel=0.01)
        assert abs(x.mean()) < 5 * bound / math.sqrt(3 * x.size)


def test_the_patch_kernel_is_lecun_normal_cut_at_two_deviations():
    x = middle()["patch_weight"]
    std = math.sqrt(1 / 48)
    assert x.std() == pytest.approx(std, rel=0.03)
    assert np.abs(x).max() <= 2 * std / 0.87962566103423978
    assert np.abs(x).max() > 1.99 * std / 0.87962566103423978


def test_the_cut_normal_is_widened_by_the_right_constant():
    """Variance of a standard normal cut at 2: 1 - 4 pdf(2) / (cdf(2) - cdf(-2))."""
    pdf, mass = math.exp(-2.0) / math.sqrt(2 * math.pi), math.erf(math.sqrt(2.0))
    assert math.sqrt(1 - 4 * pdf / mass) == pytest.approx(0.87962566103423978, rel=1e-14)


@pytest.mark.parametrize(
    ("name", "std"), [("positions", 0.02), ("blocks.0.fc1_bias", 1e-6), ("blocks.1.fc2_bias", 1e-6)]
)
def test_normal_tensors(name, std):
    x = middle()[name]
    assert x.std() == pytest.approx(std, rel=5 / math.sqrt(2 * x.size))
    assert abs(x.mean()) < 5 * std / math.sqrt(x.size)


def test_tensors_of_one_shape_are_not_alike():
    x = middle()
    for name in ("qkv_weight", "out_weight", "fc1_weight", "fc2_weight"):
        assert abs(np.corrcoef(x[f"blocks.0.{name}"].ravel(), x[f"blocks.1.{name}"].ravel())[0, 1]) < 0.03
    q, k, v = np.split(x["blocks.0.qkv_weight"], 3, axis=1)
    assert not np.array_equal(q, k)
    assert not np.array_equal(k, v)


def test_a_seed_means_the_same_parameters_in_every_dtype():
    wide = dict(named(init_params(TINY, seed=5, dtype=np.float64)))
    for dtype in (np.float16, np.float32):
        for name, x in named(init_params(TINY, seed=5, dtype=dtype)):
            assert x.dtype == dtype
            assert np.array_equal(x, wide[name].astype(dtype))
    assert init_params(TINY).patch_weight.dtype == np.float32


def test_seeds_differ_and_repeat():
    first, again, other = (init_params(TINY, seed=s) for s in (5, 5, 6))
    for (name, a), (_, b), (_, c) in zip(named(first), named(again), named(other), strict=True):
        assert np.array_equal(a, b), name
        assert np.array_equal(a, c) == (np.unique(a).size == 1), name


def test_no_state_outside_matters():
    np.random.seed(1)  # noqa: NPY002
    a = init_params(TINY).patch_weight
    np.random.random(9)  # noqa: NPY002
    assert np.array_equal(init_params(TINY).patch_weight, a)


@every_tree
@every_position
def test_named_and_tree_of_undo_each_other(pooling, positions):
    params = random_params(TINY.replace(pooling=pooling, positions=positions, depth=2))
    again = tree_of(dict(named(params)))
    assert isinstance(again, ViTParams)
    assert all(a is b and n == m for (n, a), (m, b) in zip(named(params), named(again), strict=True))
    assert tree_of(dict(reversed(list(named(params))))).blocks[1].qkv_weight is params.blocks[1].qkv_weight


def test_more_than_ten_blocks_keep_their_order():
    """blocks.10 comes after blocks.9, not after blocks.1."""
    params = random_params(TINY.replace(depth=12))
    again = tree_of(dict(sorted(named(params))))
    assert all(a.qkv_weight is b.qkv_weight for a, b in zip(params.blocks, again.blocks, strict=True))


@pytest.mark.parametrize("name", ["head_bias", "blocks.0.fc1_weight"])
def test_a_missing_tensor_is_named(name):
    tensors = dict(named(random_params(TINY)))
    del tensors[name]
    with pytest.raises(KeyError, match=name):
        tree_of(tensors)


def test_map_tree_visits_every_tensor():
    params = random_params(TINY)
    for (_, a), (_, b) in zip(named(params), named(map_tree(lambda x: -x, params)), strict=True):
        assert np.array_equal(a, -b)


@every_tree
@every_position
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_flatten(pooling, positions, dtype):
    params = random_params(TINY.replace(pooling=pooling, positions=positions, depth=2), dtype=dtype)
    buffer, tree, decayed = flatten(params)
    assert buffer.dtype == dtype
    assert buffer.ndim == 1
    kept = np.zeros(buffer.size, bool)
    address = buffer.__array_interface__["data"][0]
    for (name, x), (_, view) in zip(named(params), named(tree), strict=True):
        assert np.array_equal(x, view)
        assert np.shares_memory(view, buffer)
        assert not np.shares_memory(view, x), "flatten copies; the tree that came in stays as it is"
        assert view.flags.c_contiguous
        offset = view.__array_interface__["data"][0] - address
        assert offset % 64 == 0
        start = offset // buffer.itemsize
        assert not kept[start : start + x.size].any(), "no two tensors share a number"
        kept[start : start + x.size] = True
        assert (start + x.size <= decayed) == name.endswith("_weight")
        assert (start >= decayed) == (not name.endswith("_weight"))
    assert np.all(buffer[~kept] == 0.0), "gaps are 0"
    assert decayed <= buffer.size < kept.sum() + 64 // buffer.itemsize * len(list(named(tree)))


def test_one_update_of_the_buffer_updates_every_tensor():
    flat = flatten(random_params(TINY))
    before = {name: x.copy() for name, x in named(flat.tree)}
    flat.buffer[: flat.decayed] *= 0.5
    for name, x in named(flat.tree):
        assert np.array_equal(x, before[name] * (0.5 if name.endswith("_weight") else 1.0))


def test_flatten_reads_tensors_of_any_order_in_memory():
    params = random_params(TINY)
    turned = map_tree(np.asfortranarray, params)
    assert np.array_equal(flatten(turned).buffer, flatten(params).buffer)


def test_the_first_parameters_are_these_for_ever():
    """A seed means the same model in every version."""
    params = init_params(variant("micro/4"), 0)
    expected = [0.026138754561543465, -0.29112616181373596, 0.21766702830791473]
    np.testing.assert_allclose(params.patch_weight.ravel()[:3], expected, rtol=1e-6)
    expected = [-0.001067479606717825, -0.09512627869844437]
    np.testing.assert_allclose(params.blocks[1].fc1_weight.ravel()[:2], expected, rtol=1e-6)


def test_every_tensor_begins_where_a_cache_line_does():
    flat = flatten(init_params(variant("micro/4"), 0))
    assert {(x.ctypes.data - flat.buffer.ctypes.data) % 64 for _, x in named(flat.tree)} == {0}
    assert flat.buffer.ctypes.data % 64 == 0
