"""One encoder block: its two branches in order, its residual stream, its masks."""

import numpy as np
import pytest
from helpers.cases import TINY, assert_close, assert_right, random, random_params
from hypothesis import given
from hypothesis import strategies as st
from tolerances import COMPLEX_STEP, SAME_FORMULA

from minivit.functions import drop_path, dropout, layer_norm, mlp, multi_head_attention
from minivit.gradcheck import check
from minivit.gradcheck.catalog import block_case
from minivit.model.block import SITES, BlockSettings, block, block_backward
from minivit.model.params import BlockParams
from minivit.ops import reference
from minivit.randomness import Key

KEY = Key(seed=2, purpose="dropout", epoch=1, step=4, site=6)
every_key = pytest.mark.parametrize("key", [None, KEY])


def block_settings(heads=2, gelu="tanh", eps=1e-6, dropout=0.3, drop_path=0.4):
    return BlockSettings(heads, gelu, eps, dropout, drop_path)


def block_params(seed=0):
    return random_params(TINY, seed).blocks[0]


@pytest.mark.parametrize("gelu", ["tanh", "erf"])
@pytest.mark.parametrize("heads", [1, 4])
@every_key
def test_gradients(gelu, heads, key):
    case = block_case(block_settings(heads, gelu), key)
    assert_right(case.f, case.f_backward, *case.args)


@given(st.integers(1, 3), st.integers(1, 4), st.sampled_from([1, 2, 8]), st.integers(0, 99))
def test_gradients_for_any_batch_and_tokens(batch, tokens, heads, seed):
    case = block_case(block_settings(heads), KEY._replace(seed=seed))
    args = (random(seed, batch, tokens, 8), *block_params(seed))
    check(case.f, case.f_backward, args, seed=seed, names=case.names).require(COMPLEX_STEP)


@every_key
def test_the_equations_of_the_paper(key):
    """Eqs. 2 and 3, each mask at a site of its own."""
    z, p, s = random(1, 6, 5, 8), block_params(), block_settings(eps=0.01)
    sites = [None if key is None else key.at(6 + i) for i in range(SITES)]
    x = layer_norm(z, p.norm1_gain, p.norm1_bias, 0.01)[0]
    x = multi_head_attention(x, p.qkv_weight, p.qkv_bias, p.out_weight, p.out_bias, 2)[0]
    middle = z + drop_path(dropout(x, 0.3, sites[0])[0], 0.4, sites[1])[0]
    x = layer_norm(middle, p.norm2_gain, p.norm2_bias, 0.01)[0]
    x = mlp(x, p.fc1_weight, p.fc1_bias, p.fc2_weight, p.fc2_bias, "tanh", 0.3, sites[2])[0]
    y = middle + drop_path(dropout(x, 0.3, sites[3])[0], 0.4, sites[4])[0]
    assert_close(block(z, p, s, reference, key)[0], y, SAME_FORMULA)


def test_without_its_branches_a_block_is_the_identity():
    """Both output weights and biases at 0: z and its gradient pass through untouched."""
    z, dy, p = random(1, 3, 5, 8), random(2, 3, 5, 8), block_params()
    zeros = {name: np.zeros_like(getattr(p, name)) for name in ("out_weight", "out_bias", "fc2_weight", "fc2_bias")}
    y, cache = block(z, p._replace(**zeros), block_settings(), reference, None)
    assert np.array_equal(y, z)
    assert np.array_equal(block_backward(dy, cache, reference)[0], dy)


def test_every_mask_has_an_address_of_its_own():
    _, cache = block(random(1, 64, 5, 8), block_params(), block_settings(), reference, KEY)
    masks = [cache.residual1.dropout.mask, cache.residual2.dropout.mask]
    assert not np.array_equal(*masks)
    assert not np.array_equal(cache.residual1.drop_path.mask, cache.residual2.drop_path.mask)
    assert cache.mlp.dropout.mask.shape == (64, 5, 5)


@every_key
def test_arguments_stay_and_the_cache_can_be_used_again(key):
    z, p, dy = random(1, 3, 5, 8), block_params(), random(2, 3, 5, 8)
    before = [x.copy() for x in (z, *p, dy)]
    _, cache = block(z, p, block_settings(), reference, key)
    first, first_params = block_backward(dy, cache, reference)
    second, second_params = block_backward(dy, cache, reference)
    assert np.array_equal(first, second)
    assert all(np.array_equal(a, b) for a, b in zip(first_params, second_params, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip((z, *p, dy), before, strict=True))


def test_the_same_block_may_be_applied_twice():
    """Nothing is remembered outside the cache: two uses, two caches, and the gradients add up."""
    z, p, s = random(1, 2, 3, 8), block_params(), block_settings()

    def twice(z, *tensors):
        middle, first = block(z, BlockParams(*tensors), s, reference, KEY)
        y, second = block(middle, BlockParams(*tensors), s, reference, KEY.at(11))
        return y, (first, second)

    def twice_backward(dy, caches):
        dmiddle, second = block_backward(dy, caches[1], reference)
        dz, first = block_backward(dmiddle, caches[0], reference)
        return (dz, *(a + b for a, b in zip(first, second, strict=True)))

    assert_right(twice, twice_backward, z, *p)
