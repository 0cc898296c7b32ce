"""Broken backward passes of every function, each wrong in a way that people are wrong.

A broken pass returns gradients of the right shapes and types; only the numbers are off.
"""

import math

import numpy as np
from helpers.cases import CASES, DROP_KEY, Case, random

from bugs.attention import (
    attention_by,
    attention_p_not_transposed,
    attention_softmax_of_transposed,
    attention_without_softmax,
    heads_by,
    heads_interleaved,
)
from minivit import functions as fn


def case_of(f, *args):
    return Case(f, getattr(fn, f"{f.__name__}_backward"), args)


SQUARE = case_of(fn.linear, random(1, 3, 5, 4), random(2, 4, 4), random(3, 4))  # where a transpose keeps the shape
PER_IMAGE = case_of(fn.softmax, random(7, 2, 5, 5))
SELF_ATTENTION = case_of(fn.attention, random(8, 2, 5, 5), random(9, 2, 5, 5), random(10, 2, 5, 5))
SMALL_NORM = case_of(fn.layer_norm, random(4, 3, 7, scale=0.3), random(5, 7), random(6, 7))
DRAWN = {"again": 0}


def soft_cross_entropy(logits):
    """Targets that do not sum to 1, as mixed or weighted ones may."""
    return fn.cross_entropy(logits, np.random.default_rng(0).random((5, 7)))


SOFT = Case(soft_cross_entropy, fn.cross_entropy_backward, (random(33, 5, 7),))


def linear_dw_transposed(dy, cache):
    dx, dw, db = fn.linear_backward(dy, cache)
    return dx, dw.T, db


def linear_dx_by_w(dy, cache):
    _, dw, db = fn.linear_backward(dy, cache)
    return dy @ cache.w, dw, db


def linear_first_image_only(dy, cache):
    dx, _, db = fn.linear_backward(dy, cache)
    return dx, cache.x[0].T @ dy[0], db


def linear_db_of_last_image(dy, cache):
    dx, dw, _ = fn.linear_backward(dy, cache)
    return dx, dw, dy[-1].sum(0)


def linear_mean_over_tokens(dy, cache):
    dx, dw, db = fn.linear_backward(dy, cache)
    return dx, dw / dy.shape[1], db / dy.shape[1]


def layer_norm_by(eps_change=0.0, mean=1.0, stretch=1.0, gain=True, dg_of_x=False):
    """A layer norm's backward pass with its terms weighted, left out, or computed with another eps."""

    def backward(dy, cache):
        x, g, m, rstd = cache
        rstd = 1.0 / np.sqrt(1.0 / rstd**2 + eps_change)
        u = (x - m) * rstd
        du = dy * g if gain else dy
        dx = rstd * (du - mean * du.mean(-1, keepdims=True) - stretch * u * (du * u).mean(-1, keepdims=True))
        rows = tuple(range(dy.ndim - 1))
        return dx, (dy * (x if dg_of_x else u)).sum(rows), dy.sum(rows)

    return backward


def softmax_diagonal(dy, cache):
    return dy * cache.y * (1.0 - cache.y)


def softmax_without_sum(dy, cache):
    return dy * cache.y


def softmax_sum_over_columns(dy, cache):
    return cache.y * (dy - (dy * cache.y).sum(-2, keepdims=True))


def gelu_constant(dy, cache):
    """0.0447 for 0.044715: the slip that PyTorch's, chainer's and llm.c's tolerances let pass."""
    x, a, c = cache.x, math.sqrt(2 / math.pi), 0.0447
    t = np.tanh(a * (x + c * x**3))
    return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * a * (1 + 3 * c * x * x))


def gelu_inner_slope_forgotten(dy, cache):
    x, phi, _ = cache
    return dy * (phi + x * 2 * phi * (1 - phi) * math.sqrt(2 / math.pi))


def gelu_other_form(dy, cache):
    return fn.gelu_backward(dy, cache._replace(form="erf" if cache.form == "tanh" else "tanh"))


def dropout_redrawn(dy, cache):
    DRAWN["again"] += 1
    return fn.dropout(dy, cache.rate, DROP_KEY.at(100 + DRAWN["again"]))[0]


def dropout_not_rescaled(dy, cache):
    return dy * cache.mask


def drop_path_kept_by_number(dy, cache):
    return fn.dropout(dy, cache.rate, DROP_KEY)[0]


def class_token_mean(dy, cache):
    return dy[:, 1:], dy[:, 0].mean(0)


def class_token_at_the_end(dy, cache):
    return dy[:, :-1], dy[:, -1].sum(0)


def positions_first_image(dy, cache):
    return dy, dy[0]


def patchify_channel_first(dy, cache):
    batch, channels, height, width = cache.image_shape
    tall, wide = cache.patch_size
    patches = dy.reshape(batch, -1, channels, tall * wide).swapaxes(-1, -2).reshape(dy.shape)
    return fn.unpatchify(patches, (height, width), cache.patch_size)[0]


def pool_mean_without_division(dy, cache):
    return fn.pool_mean_backward(dy * cache.tokens, cache)


def cross_entropy_without_batch(dy, cache):
    return fn.cross_entropy_backward(dy, cache) * cache.p.shape[0]


def cross_entropy_p_minus_t(dy, cache):
    return (cache.p - cache.t) * dy / cache.p.shape[0]


def cross_entropy_ignores_dloss(dy, cache):
    return fn.cross_entropy_backward(1.0, cache)


def cross_entropy_without_smoothing(dy, cache):
    hard = (cache.t == cache.t.max(-1, keepdims=True)).astype(cache.t.dtype)
    return fn.cross_entropy_backward(dy, cache._replace(t=hard))


def unpatchify_rows_for_columns(dy, cache):
    """The patches run down the image where they should run across."""
    dx = fn.unpatchify_backward(dy, cache)
    rows, columns = cache.image_shape[2] // cache.patch_size[0], cache.image_shape[3] // cache.patch_size[1]
    return dx.reshape(len(dx), rows, columns, -1).swapaxes(1, 2).reshape(dx.shape)


def pool_class_token_to_all(dy, cache):
    return np.repeat(dy[:, None], cache.tokens, axis=1)


def mlp_dropout_forgotten(dy, cache):
    return fn.mlp_backward(dy, cache._replace(dropout=cache.dropout._replace(mask=None)))


def mlp_slope_of_the_wrong_layer(dy, cache):
    """GELU's slope at what comes out of it, not at what went in."""
    return fn.mlp_backward(dy, cache._replace(gelu=cache.gelu._replace(x=cache.fc2.x)))


REMEMBERED = {}


def forgetful_softmax(x):
    """A softmax that keeps its result where the next call overwrites it."""
    y, cache = fn.softmax(x)
    REMEMBERED["cache"] = cache
    return y, cache


def softmax_of_the_last_call(dy, cache):
    return fn.softmax_backward(dy, REMEMBERED["cache"])


def softmax_in_its_cache(dy, cache):
    """Right once: it works in the cache's own memory."""
    y = cache.y
    y *= dy - (dy * y).sum(-1, keepdims=True)
    return y.copy()


def wrong_sign(backward):
    def negated(dy, cache):
        first, *others = backward(dy, cache)
        return (-first, *others)

    return negated


FUNCTION_BUGS = {
    "linear: dw transposed": (SQUARE, linear_dw_transposed),
    "linear: dx by w, not its transpose": (SQUARE, linear_dx_by_w),
    "linear: dw of the first image only": (SQUARE, linear_first_image_only),
    "linear: db of the last image only": (SQUARE, linear_db_of_last_image),
    "linear: mean over tokens": (CASES["linear"], linear_mean_over_tokens),
    "linear: sign": (CASES["linear"], wrong_sign(fn.linear_backward)),
    "layer_norm: mean term dropped": (CASES["layer_norm"], layer_norm_by(mean=0.0)),
    "layer_norm: stretch term dropped": (CASES["layer_norm"], layer_norm_by(stretch=0.0)),
    "layer_norm: divided by D - 1": (CASES["layer_norm"], layer_norm_by(stretch=7 / 6)),
    "layer_norm: gain forgotten": (CASES["layer_norm"], layer_norm_by(gain=False)),
    "layer_norm: dg by x, not u": (CASES["layer_norm"], layer_norm_by(dg_of_x=True)),
    "layer_norm: eps 1e-5 in place of 1e-6": (SMALL_NORM, layer_norm_by(eps_change=9e-6)),
    "softmax: diagonal only": (CASES["softmax"], softmax_diagonal),
    "softmax: sum forgotten": (CASES["softmax"], softmax_without_sum),
    "softmax: sum over columns": (PER_IMAGE, softmax_sum_over_columns),
    "softmax: of the last call, not of its cache": (
        Case(forgetful_softmax, fn.softmax_backward, CASES["softmax"].args),
        softmax_of_the_last_call,
    ),
    "softmax: works in its cache": (CASES["softmax"], softmax_in_its_cache),
    "gelu: constant 0.0447": (CASES["gelu_tanh"], gelu_constant),
    "gelu: slope of the cubic forgotten": (CASES["gelu_tanh"], gelu_inner_slope_forgotten),
    "gelu: tanh forward, erf backward": (CASES["gelu_tanh"], gelu_other_form),
    "gelu: erf forward, tanh backward": (CASES["gelu_erf"], gelu_other_form),
    "attention: scale forgotten on dk": (
        CASES["attention"],
        attention_by(lambda dq, dk, dv, dy, cache: (dq, dk * math.sqrt(cache.q.shape[-1]), dv)),
    ),
    "attention: scale twice on dq": (
        CASES["attention"],
        attention_by(lambda dq, dk, dv, dy, cache: (dq / math.sqrt(cache.q.shape[-1]), dk, dv)),
    ),
    "attention: dq and dk swapped": (SELF_ATTENTION, attention_by(lambda dq, dk, dv, dy, cache: (dk, dq, dv))),
    "attention: dv by p, not its transpose": (SELF_ATTENTION, attention_by(attention_p_not_transposed)),
    "attention: softmax forgotten": (SELF_ATTENTION, attention_by(attention_without_softmax)),
    "attention: softmax over the queries": (SELF_ATTENTION, attention_by(attention_softmax_of_transposed)),
    "heads: interleaved": (CASES["multi_head_attention"], heads_by(heads_interleaved)),
    "heads: in reverse": (CASES["multi_head_attention"], heads_by(lambda g: g[..., ::-1, :].copy())),
    "heads: keys before queries": (CASES["multi_head_attention"], heads_by(lambda g: g[..., [1, 0, 2], :, :])),
    "mlp: dropout forgotten": (CASES["mlp"], mlp_dropout_forgotten),
    "mlp: slope at the result": (CASES["mlp"], mlp_slope_of_the_wrong_layer),
    "dropout: mask drawn again": (CASES["dropout"], dropout_redrawn),
    "dropout: not rescaled": (CASES["dropout"], dropout_not_rescaled),
    "drop_path: a mask per number": (CASES["drop_path"], drop_path_kept_by_number),
    "residual: masks forgotten": (CASES["residual"], lambda dy, cache: (dy, dy)),
    "residual: masks on the stream too": (
        CASES["residual"],
        lambda dy, cache: (fn.residual_backward(dy, cache)[1],) * 2,
    ),
    "pre_norm: the branch's way forgotten": (
        CASES["pre_norm"],
        lambda dy, cache: (dy[..., 0, :], *fn.layer_norm_backward(dy[..., 1, :], cache)[1:]),
    ),
    "pre_norm: the stream's way forgotten": (
        CASES["pre_norm"],
        lambda dy, cache: fn.layer_norm_backward(dy[..., 1, :], cache),
    ),
    "pre_norm: both ways by the norm": (
        CASES["pre_norm"],
        lambda dy, cache: fn.layer_norm_backward(dy[..., 0, :] + dy[..., 1, :], cache),
    ),
    "class token: mean over the batch": (CASES["prepend_class_token"], class_token_mean),
    "class token: at the other end": (CASES["prepend_class_token"], class_token_at_the_end),
    "positions: first image only": (CASES["add_positions"], positions_first_image),
    "patchify: channels before pixels": (CASES["patchify"], patchify_channel_first),
    "unpatchify: rows for columns": (CASES["unpatchify"], unpatchify_rows_for_columns),
    "pool_class_token: to every token": (CASES["pool_class_token"], pool_class_token_to_all),
    "first_tokens: at the other end": (
        CASES["first_tokens"],
        lambda dy, cache: fn.first_tokens_backward(dy, cache)[:, ::-1],
    ),
    "pool_mean: factor T": (CASES["pool_mean"], pool_mean_without_division),
    "cross_entropy: factor B": (CASES["cross_entropy"], cross_entropy_without_batch),
    "cross_entropy: dloss ignored": (CASES["cross_entropy"], cross_entropy_ignores_dloss),
    "cross_entropy: smoothing forgotten": (CASES["cross_entropy"], cross_entropy_without_smoothing),
    "cross_entropy: p - t for any targets": (SOFT, cross_entropy_p_minus_t),
}
