"""The whole model: trees, dtypes, dropout, attention maps, refusals. Its gradients: test_vit_gradients.py."""

import math
import types

import numpy as np
import pytest
from helpers.cases import TINY, assert_close, random, random_images, random_params
from tolerances import GRADIENT, STRICT_ARRAYS

from minivit.functions import cross_entropy, cross_entropy_backward, sincos_positions
from minivit.gradcheck import relative_error
from minivit.model import (
    ViTConfig,
    ViTParams,
    attention_maps,
    init_params,
    named,
    variant,
    vit,
    vit_backward,
    vit_backward_with_images,
)
from minivit.model.params import map_tree
from minivit.ops import choose_ops, reference
from minivit.randomness import Key

KEY = Key(seed=1, purpose="dropout", epoch=2, step=3)


def test_the_gradient_has_the_type_of_the_parameters():
    params, images = random_params(TINY), random_images(TINY)
    logits, cache = vit(params, images, TINY)
    gradients = vit_backward(random(1, *logits.shape), cache)
    assert isinstance(gradients, ViTParams)
    assert [(n, x.shape) for n, x in named(gradients)] == [(n, x.shape) for n, x in named(params)]


@pytest.mark.parametrize(("pooling", "positions"), [("mean", "learned"), ("class_token", "none"), ("mean", "sincos")])
def test_what_a_model_has_not_gets_no_gradient(pooling, positions):
    config = TINY.replace(pooling=pooling, positions=positions)
    logits, cache = vit(random_params(config), random_images(config), config)
    gradients = vit_backward(random(1, *logits.shape), cache)
    assert (gradients.class_token is None) == (pooling == "mean")
    assert (gradients.positions is None) == (positions != "learned")


def test_images_and_parameters_get_the_same_gradients_together_or_alone():
    logits, cache = vit(random_params(TINY), random_images(TINY), TINY, key=KEY)
    dy = random(1, *logits.shape)
    alone, (together, dimages) = vit_backward(dy, cache), vit_backward_with_images(dy, cache)
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(named(alone), named(together), strict=True))
    assert dimages.shape == (3, 2, 6, 4)


def test_a_fresh_model_is_undecided():
    """The head starts at 0: whatever the image, every class is as likely, and the loss is log C."""
    config = TINY.replace(classes=7)
    logits, _ = vit(init_params(config, seed=3), random_images(config, dtype=np.float32), config)
    assert np.all(logits == 0.0)
    assert cross_entropy(logits, np.array([0, 3, 6]))[0] == pytest.approx(math.log(7), rel=1e-6)


def test_evaluation_drops_nothing_and_a_key_repeats_itself():
    config = TINY.replace(dropout=0.4, drop_path=0.4, depth=3)
    params, images = random_params(config), random_images(config)

    def logits(config, key):
        return vit(params, images, config, key=key)[0]

    plain = logits(config.replace(dropout=0.0, drop_path=0.0), KEY)
    assert np.array_equal(logits(config, None), plain)
    assert np.array_equal(logits(config, KEY), logits(config, KEY))
    assert not np.array_equal(logits(config, KEY), plain)
    for other in (KEY._replace(step=4), KEY._replace(epoch=4), KEY._replace(seed=4)):
        assert not np.array_equal(logits(config, KEY), logits(config, other))


def test_every_layer_gets_the_settings():
    """Gradients cannot show a setting that got lost on the way: forward and backward would agree."""
    config = TINY.replace(depth=2, gelu="erf", eps=0.5, dropout=0.3)
    _, cache = vit(random_params(config), random_images(config), config, key=KEY)
    norms = [cache.norm, *(norm for b in cache.blocks for norm in (b.norm1, b.norm2))]
    for norm in norms:
        assert_close(norm.rstd, 1.0 / np.sqrt(norm.x.var(-1, keepdims=True) + 0.5), 1e-14)
    assert [b.mlp.gelu.form for b in cache.blocks] == ["erf", "erf"]
    assert [b.attention.heads for b in cache.blocks] == [2, 2]
    drops = [
        cache.dropout,
        *(c for b in cache.blocks for c in (b.residual1.dropout, b.mlp.dropout, b.residual2.dropout)),
    ]
    assert [c.rate for c in drops] == [0.3] * 7


@pytest.mark.parametrize("change", [{"eps": 1e-3}, {"gelu": "erf"}, {"heads": 4}, {"positions": "sincos"}], ids=str)
def test_every_choice_changes_the_logits(change):
    params, images = random_params(TINY), random_images(TINY)
    other = params._replace(positions=None) if "positions" in change else params
    assert relative_error(vit(other, images, TINY.replace(**change))[0], vit(params, images, TINY)[0]) > 1e-6


def test_every_mask_of_the_model_is_another():
    config = ViTConfig(depth=3, dropout=0.5, drop_path=0.5)
    _, cache = vit(random_params(config), random_images(config, 32), config, key=KEY)
    masks = [cache.dropout.mask] + [c.mask for b in cache.blocks for c in (b.residual1.dropout, b.residual2.dropout)]
    paths = [c.mask for b in cache.blocks for c in (b.residual1.drop_path, b.residual2.drop_path) if c.mask is not None]
    for same_shape in (masks, paths, [b.mlp.dropout.mask for b in cache.blocks]):
        assert len({mask.tobytes() for mask in same_shape}) == len(same_shape)


def test_a_key_at_another_site_makes_no_two_masks_alike():
    """A caller may put a key at any site, 6 say; the model's own masks still have to differ from each other."""
    config = TINY.replace(depth=2, dropout=0.5)
    _, cache = vit(random_params(config), random_images(config, 32), config, key=KEY.at(6))
    masks = [cache.dropout.mask] + [c.mask for b in cache.blocks for c in (b.residual1.dropout, b.residual2.dropout)]
    assert len({mask.tobytes() for mask in masks}) == len(masks)
    _, first = vit(random_params(config), random_images(config, 32), config, key=KEY)
    assert first.dropout.mask.tobytes() != masks[0].tobytes(), "and from those of a key at site 0"


@pytest.mark.parametrize("ops_name", ["reference", "auto"])
@pytest.mark.parametrize("skip_unread", [False, True])
def test_a_batch_of_no_images(ops_name, skip_unread):
    params = random_params(TINY, dtype=np.float32)
    images = random_images(TINY, dtype=np.float32)[:0]
    logits, cache = vit(params, images, TINY, key=KEY, ops=choose_ops(ops_name), skip_unread=skip_unread)
    assert logits.shape == (0, TINY.classes)
    assert not any(x.any() for _, x in named(vit_backward(logits, cache)))


@pytest.mark.parametrize(("depth", "rates"), [(1, [0.6]), (3, [0.0, 0.3, 0.6]), (4, [0.0, 0.2, 0.4, 0.6])])
def test_drop_path_grows_with_depth(depth, rates):
    config = TINY.replace(depth=depth, drop_path=0.6)
    _, cache = vit(random_params(config), random_images(config), config, key=KEY)
    assert [c.residual1.drop_path.rate for c in cache.blocks] == pytest.approx(rates)
    assert [c.residual2.drop_path.rate for c in cache.blocks] == pytest.approx(rates)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("positions", ["learned", "sincos"])
def test_dtype_is_kept(dtype, positions):
    config = TINY.replace(dropout=0.1, drop_path=0.1, positions=positions, gelu="erf")
    params, images = random_params(config, dtype=dtype), random_images(config, dtype=dtype)
    logits, cache = vit(params, images, config, key=KEY)
    assert logits.dtype == dtype
    gradients, dimages = vit_backward_with_images(random(1, *logits.shape).astype(dtype), cache)
    assert dimages.dtype == dtype
    assert {x.dtype for _, x in named(gradients)} == {np.promote_types(dtype, np.float32)}


@pytest.mark.parametrize("gelu", ["tanh", "erf"])
def test_float32_gradients_agree_with_float64(gelu):
    config = variant("micro/4", gelu=gelu, dropout=0.1)
    images, labels = random_images(config, 4), np.array([1, 5, 5, 9])
    params = map_tree(lambda x: x * 0.3, random_params(config))
    found = {}
    for dtype in (np.float32, np.float64):
        # Both start from the numbers as float32 holds them.
        narrow = map_tree(lambda x: x.astype(np.float32).astype(dtype), params)  # noqa: B023
        logits, cache = vit(narrow, images.astype(np.float32).astype(dtype), config, key=KEY)
        dlogits = cross_entropy_backward(1.0, cross_entropy(logits, labels)[1])
        found[dtype] = dict(named(vit_backward(dlogits, cache)))
    for name, expected in found[np.float64].items():
        assert relative_error(found[np.float32][name], expected) <= GRADIENT[np.dtype(np.float32)], name


@pytest.mark.parametrize("ops_name", ["reference", "cpu"])
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("depth", [1, 3])
def test_what_nobody_reads_may_be_skipped(ops_name, recompute, depth):
    """The same logits and gradients, of which those that are 0 in theory are the roundings of either way."""
    config, ops = TINY.replace(depth=depth), choose_ops(ops_name)
    params, images = random_params(config), random_images(config)
    logits, whole = vit(params, images, config, ops=ops)
    skipped_logits, skipped = vit(params, images, config, ops=ops, recompute=recompute, skip_unread=True)
    assert skipped.norm.x.shape == (3, 1, config.width)
    assert_close(skipped_logits, logits, 1e-14)
    dlogits = random(1, *logits.shape)
    expected, dimages = vit_backward_with_images(dlogits, whole)
    found, skipped_dimages = vit_backward_with_images(dlogits, skipped)
    assert_close(skipped_dimages, dimages, 1e-13)
    for (name, one), (_, other) in zip(named(found), named(expected), strict=True):
        width = config.width if name.endswith("qkv_bias") else 0
        assert_close(np.delete(one, np.s_[width : 2 * width], 0), np.delete(other, np.s_[width : 2 * width], 0), 1e-13)
    if not recompute:
        assert [p.shape for p in attention_maps(skipped)] == [(3, 2, 5, 5)] * (depth - 1) + [(3, 2, 1, 5)]
        assert_close(attention_maps(skipped)[-1], attention_maps(whole)[-1][:, :, :1], 1e-14)


def test_all_tokens_are_read_by_their_mean():
    config = TINY.replace(pooling="mean", dropout=0.2)
    params, images = random_params(config), random_images(config)
    (logits, cache), (other, _) = (vit(params, images, config, key=KEY, skip_unread=skip) for skip in (True, False))
    assert np.array_equal(logits, other)
    assert cache.norm.x.shape == (3, config.tokens, config.width)


def test_attention_maps():
    config = TINY.replace(depth=3)
    _, cache = vit(random_params(config), random_images(config), config)
    maps = attention_maps(cache)
    assert [p.shape for p in maps] == [(3, 2, 5, 5)] * 3
    for p in maps:
        assert np.abs(p.sum(-1) - 1.0).max() < 1e-14
    assert not np.array_equal(maps[0], maps[1])


def test_without_positions_the_order_of_the_patches_is_unseen():
    config = TINY.replace(positions="none")
    params, images = random_params(config), random_images(config)
    flipped = images.reshape(3, 2, 2, 3, 4)[:, :, ::-1].reshape(images.shape)  # the two rows of patches swapped
    assert_close(vit(params, flipped, config)[0], vit(params, images, config)[0], 1e-14)
    learned = random_params(TINY)
    assert relative_error(vit(learned, flipped, TINY)[0], vit(learned, images, TINY)[0]) > 1e-3


def test_sincos_and_learned_positions_agree_where_the_numbers_do():
    """A learned table that holds the sin-cos one, with 0 for the class token, is the same model."""
    table = np.concatenate([np.zeros((1, 8)), sincos_positions((2, 2), 8)])
    params, images = random_params(TINY)._replace(positions=table), random_images(TINY)
    fixed = TINY.replace(positions="sincos")
    assert np.array_equal(vit(params._replace(positions=None), images, fixed)[0], vit(params, images, TINY)[0])


def test_the_given_namespace_is_what_computes():
    """Forward and backward call the functions of `ops` and no others."""
    calls = []

    def counted(name):
        def call(*args):
            calls.append(name)
            return getattr(reference, name)(*args)

        return call

    ops = types.SimpleNamespace(**{name: counted(name) for name in reference.__all__})
    for pooling in ("class_token", "mean"):
        config = TINY.replace(pooling=pooling, depth=2)
        logits, cache = vit(random_params(config), random_images(config), config, key=KEY, ops=ops)
        forward, calls[:] = calls[:], []
        vit_backward_with_images(logits, cache)
        assert sorted(f"{name}_backward" for name in forward) == sorted(calls)
        assert forward.count("multi_head_attention") == forward.count("mlp") == 2
        assert (forward.count("pre_norm"), forward.count("layer_norm")) == (4, 1)
        assert {"patchify", "add_positions", "linear", "dropout"} <= set(forward)
        assert forward.count("residual") == 4
        assert ("prepend_class_token" in forward) == (pooling == "class_token")
        calls.clear()


def test_a_second_backward_is_identical_and_arguments_stay():
    config = TINY.replace(dropout=0.3, drop_path=0.3, depth=2)
    params, images = random_params(config), random_images(config)
    before = [x.copy() for _, x in named(params)] + [images.copy()]
    logits, cache = vit(params, images, config, key=KEY)
    dy = random(1, *logits.shape)
    kept = logits.copy(), dy.copy()
    first = [x.copy() for _, x in named(vit_backward(dy, cache))]
    vit(params, images * 2, config)  # an evaluation in between is of no account
    second = [x for _, x in named(vit_backward(dy, cache))]
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip([x for _, x in named(params)] + [images], before, strict=True))
    assert np.array_equal(logits, kept[0])
    assert np.array_equal(dy, kept[1])


@pytest.mark.parametrize("positions", ["learned", "sincos"])
def test_nothing_but_the_array_standard_is_used(positions):
    strict = pytest.importorskip("array_api_strict").asarray
    config = TINY.replace(positions=positions, dropout=0.3, drop_path=0.3, gelu="erf")
    params, images = random_params(config), random_images(config)
    logits, cache = vit(params, images, config, key=KEY)
    gradients = vit_backward(np.asarray(logits), cache)
    strict_logits, strict_cache = vit(map_tree(strict, params), strict(images), config, key=KEY)
    assert_close(strict_logits, logits, STRICT_ARRAYS)
    for (_, a), (_, b) in zip(named(vit_backward(strict_logits, strict_cache)), named(gradients), strict=True):
        assert_close(a, b, 10 * STRICT_ARRAYS)


@pytest.mark.parametrize("ops_name", ["reference", "auto"])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_recomputed_blocks_give_the_same_gradients_bit_for_bit(ops_name, dropout):
    config = TINY.replace(depth=3, dropout=dropout, drop_path=dropout)
    params, images, ops = random_params(config), random_images(config), choose_ops(ops_name)
    kept_logits, kept = vit(params, images, config, key=KEY, ops=ops)
    logits, cache = vit(params, images, config, key=KEY, ops=ops, recompute=True)
    assert np.array_equal(logits, kept_logits)
    dlogits = random(1, *logits.shape)
    for (name, one), (_, other) in zip(
        named(vit_backward(dlogits, kept)), named(vit_backward(dlogits, cache)), strict=True
    ):
        assert np.array_equal(one, other), name
    assert cache.blocks[1].z.shape == (3, config.tokens, config.width)
    assert not hasattr(cache.blocks[1], "attention"), "nothing but the input is kept"
    with pytest.raises(ValueError, match="recompute=True holds no attention"):
        attention_maps(cache)
