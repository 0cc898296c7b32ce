"""Broken backward passes of the block and of the whole model: their parts are right, their wiring is not."""

import sys
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np

from bugs.functions import gelu_constant, layer_norm_by
from minivit import functions as fn
from minivit.gradcheck.catalog import DROP_KEY, TINY, block_case, model_case
from minivit.model.block import BlockSettings
from minivit.model.params import BlockParams
from minivit.ops import reference

# Two blocks of four numbers a token: as wrong as a large one, and judged in less than a second.
SMALL = TINY.replace(image_size=(9, 4), patch_size=(3, 2), channels=1, width=4, mlp_width=3, depth=2)
VIT = model_case(SMALL.replace(dropout=0.2, drop_path=0.3), DROP_KEY._replace(seed=4))
MEAN = model_case(SMALL.replace(pooling="mean", positions="sincos", gelu="erf", width=8), DROP_KEY)
BLOCK = block_case(BlockSettings(2, "tanh", 1e-6, 0.3, 0.4), DROP_KEY, SMALL)
VIT_MODULE = sys.modules["minivit.model.vit"]  # the name minivit.model.vit is the function's


def with_cache(change):
    """The model's backward pass with another cache than its forward pass left."""
    return lambda dlogits, cache: VIT.f_backward(dlogits, change(cache))


def with_ops(change, case=VIT):
    """... with some functions replaced: change(cache) returns them by name."""

    def backward(dlogits, cache):
        ops = SimpleNamespace(**{**vars(reference), **change(cache)})
        return case.f_backward(dlogits, cache._replace(ops=ops))

    return backward


def with_gradients(change):
    """... with some gradients replaced: change(gradients by name, dlogits, cache) returns them."""

    def backward(dlogits, cache):
        gradients = dict(zip(VIT.names, VIT.f_backward(dlogits, cache), strict=True))
        return tuple({**gradients, **change(gradients, dlogits, cache)}.values())

    return backward


def with_blocks(**wrong):
    """... with `broken_block` for every block."""

    def backward(dlogits, cache):
        with patch.object(VIT_MODULE, "block_backward", broken_block(**wrong)):
            return VIT.f_backward(dlogits, cache)

    return backward


def broken_block(residual1=1.0, residual2=1.0, dropped1=True, dropped2=True, norms_swapped=False, branch_of_dy=False):
    """A block's backward pass with its residual sums weighted, its masks left out, or its wires crossed."""

    def backward(dy, cache, ops=reference):
        norm1, norm2 = (cache.norm2, cache.norm1) if norms_swapped else (cache.norm1, cache.norm2)
        dx = dy
        if dropped2:
            dx = fn.dropout_backward(fn.drop_path_backward(dx, cache.residual2.drop_path), cache.residual2.dropout)
        dx, *dmlp = fn.mlp_backward(dx, cache.mlp)
        dx, dg2, db2 = fn.layer_norm_backward(dx, norm2)
        dz = residual2 * dy + dx
        dx = dy if branch_of_dy else dz
        if dropped1:
            dx = fn.dropout_backward(fn.drop_path_backward(dx, cache.residual1.drop_path), cache.residual1.dropout)
        dx, *dattention = fn.multi_head_attention_backward(dx, cache.attention)
        dx, dg1, db1 = fn.layer_norm_backward(dx, norm1)
        return residual1 * dz + dx, BlockParams(dg1, db1, *dattention, dg2, db2, *dmlp)

    return backward


def block_alone(**wrong):
    def backward(dy, cache):
        dz, dparams = broken_block(**wrong)(dy, cache)
        return (dz, *dparams)

    return backward


def blocks_exchanged(g, dlogits, cache):
    """The list of the blocks' gradients was filled from the last on, and never turned round."""
    return {name: g[name.replace(".0.", ".x.").replace(".1.", ".0.").replace(".x.", ".1.")] for name in g}


def attention_constant(dy, cache):
    """The probabilities taken for constants."""
    _, _, dv = fn.attention_backward(dy, cache)
    return np.zeros_like(cache.q), np.zeros_like(cache.k), dv


def attention_with(changed_attention):
    """Multi-head attention's backward pass around another attention's."""

    def backward(dy, cache):
        with patch("minivit.functions.attention.attention_backward", changed_attention):
            return fn.multi_head_attention_backward(dy, cache)

    return backward


def queries_and_values_exchanged(dy, cache):
    dx, dw, db, dout_w, dout_b = fn.multi_head_attention_backward(dy, cache)
    dw, db = (np.concatenate(np.split(g, 3, axis=-1)[::-1], axis=-1) for g in (dw, db))
    return dx, dw, db, dout_w, dout_b


def norms_by(layer_norm_backward):
    """Every norm's backward pass by another one of layer norm."""

    def pre_norm_backward(dz, dx, norm):
        dx, dg, db = layer_norm_backward(dx, norm)
        return dz + dx, dg, db

    return {"layer_norm_backward": layer_norm_backward, "pre_norm_backward": pre_norm_backward}


def final_norm_skipped(cache):
    def layer_norm_backward(dy, norm):
        dx, dg, db = fn.layer_norm_backward(dy, norm)
        return (dy if norm is cache.norm else dx), dg, db

    return {"layer_norm_backward": layer_norm_backward}


def patches_down(dy, cache):
    """dimages from patches that run down the image."""
    rows, columns = cache.image_shape[2] // cache.patch_size[0], cache.image_shape[3] // cache.patch_size[1]
    turned = dy.reshape(len(dy), columns, rows, -1).swapaxes(1, 2).reshape(dy.shape)
    return fn.patchify_backward(turned, cache)


KEPT = {}


def added_up(dlogits, cache):
    """Gradients added to those of the call before, and never set to zero."""
    found = VIT.f_backward(dlogits, cache)
    key = id(cache)
    KEPT[key] = tuple(a + b for a, b in zip(KEPT[key], found, strict=True)) if key in KEPT else found
    return KEPT[key]


MODEL_BUGS = {
    "block: residual past the MLP forgotten": (BLOCK, block_alone(residual2=0.0)),
    "block: residual past attention forgotten": (BLOCK, block_alone(residual1=0.0)),
    "block: attention's branch gets dy": (BLOCK, block_alone(branch_of_dy=True)),
    "block: masks forgotten": (BLOCK, block_alone(dropped1=False, dropped2=False)),
    "vit: residual past the MLP forgotten": (VIT, with_blocks(residual2=0.0)),
    "vit: residual past attention forgotten": (VIT, with_blocks(residual1=0.0)),
    "vit: residual added twice": (VIT, with_blocks(residual1=2.0)),
    "vit: attention's branch gets dy": (VIT, with_blocks(branch_of_dy=True)),
    "vit: masks of attention forgotten": (VIT, with_blocks(dropped1=False)),
    "vit: masks of the MLP forgotten": (VIT, with_blocks(dropped2=False)),
    "vit: caches of the norms exchanged": (VIT, with_blocks(norms_swapped=True)),
    "vit: blocks' gradients in reverse": (VIT, with_gradients(blocks_exchanged)),
    "vit: blocks walked first to last": (VIT, with_cache(lambda c: c._replace(blocks=c.blocks[::-1]))),
    "vit: the last block's cache for all": (VIT, with_cache(lambda c: c._replace(blocks=c.blocks[-1:] * 2))),
    "vit: first dropout forgotten": (VIT, with_cache(lambda c: c._replace(dropout=c.dropout._replace(mask=None)))),
    "vit: head's bias averaged": (VIT, with_gradients(lambda g, dy, c: {"head_bias": dy.mean(0)})),
    "vit: class token never learns": (
        VIT,
        with_gradients(lambda g, dy, c: {"class_token": np.zeros_like(g["class_token"])}),
    ),
    "vit: class token without position": (
        VIT,
        with_gradients(lambda g, dy, c: {"positions": g["positions"] * (np.arange(7) > 0)[:, None]}),
    ),
    "vit: positions averaged over the batch": (VIT, with_gradients(lambda g, dy, c: {"positions": g["positions"] / 3})),
    "vit: last norm's gain and bias exchanged": (
        VIT,
        with_gradients(lambda g, dy, c: {"norm_gain": g["norm_bias"], "norm_bias": g["norm_gain"]}),
    ),
    "vit: images' gradient missing": (VIT, with_gradients(lambda g, dy, c: {"images": None})),
    "vit: last norm skipped": (VIT, with_ops(final_norm_skipped)),
    "vit: class token's gradient to every token": (
        VIT,
        with_ops(lambda c: {"pool_class_token_backward": lambda dy, p: np.repeat(dy[:, None], p.tokens, axis=1)}),
    ),
    "vit: patches get the class token's gradient": (
        VIT,
        with_ops(lambda c: {"prepend_class_token_backward": lambda dy, p: (dy[:, :-1], dy[:, 0].sum(0))}),
    ),
    "vit: images' patches down, not across": (VIT, with_ops(lambda c: {"patchify_backward": patches_down})),
    "vit: layer norms' mean a constant": (VIT, with_ops(lambda c: norms_by(layer_norm_by(mean=0.0)))),
    "vit: eps 1e-5 in every backward": (VIT, with_ops(lambda c: norms_by(layer_norm_by(eps_change=9e-6)))),
    "vit: nothing of the branches where they left": (
        VIT,
        with_ops(lambda c: {"pre_norm_backward": lambda dz, dx, norm: (dz, *fn.layer_norm_backward(dx, norm)[1:])}),
    ),
    "vit: GELU constant 0.0447": (
        VIT,
        with_ops(lambda c: {"mlp_backward": _mlp_with(gelu_constant)}),
    ),
    "vit: attention's probabilities constant": (
        VIT,
        with_ops(lambda c: {"multi_head_attention_backward": attention_with(attention_constant)}),
    ),
    "vit: queries and values exchanged": (
        VIT,
        with_ops(lambda c: {"multi_head_attention_backward": queries_and_values_exchanged}),
    ),
    "vit: gradients never set to zero": (VIT, added_up),
    "vit_mean: factor T": (
        MEAN,
        with_ops(lambda c: {"pool_mean_backward": lambda dy, p: fn.pool_mean_backward(dy * p.tokens, p)}, MEAN),
    ),
    "vit_mean: tanh form's slope": (MEAN, with_ops(lambda c: {"mlp_backward": _mlp_with(_other_form)}, MEAN)),
}


def _mlp_with(gelu_backward):
    """The MLP's backward pass around another GELU's."""

    def backward(dy, cache):
        with patch("minivit.functions.mlp.gelu_backward", gelu_backward):
            return fn.mlp_backward(dy, cache)

    return backward


def _other_form(dy, cache):
    return fn.gelu_backward(dy, cache._replace(form="tanh"))
