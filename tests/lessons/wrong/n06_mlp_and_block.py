"""Wrong answers to the exercises of 06."""

import math

import numpy as np

from minivit.lessons.answers.n06_mlp_and_block import (
    drop_path_by,
    drop_path_by_backward,
    geglu,
    geglu_backward,
    layer_scale,
    layer_scale_backward,
)


def drop_path_unscaled(x, kept, rate):
    mask = kept.reshape(-1, *(1,) * (x.ndim - 1))
    return x * mask, (mask, 0.0)


def drop_path_by_scaled_mask(x, kept, rate):
    """A bool array over a float is float64."""
    mask = kept.reshape(-1, *(1,) * (x.ndim - 1)) / (1.0 - rate)
    return x * mask, mask


def drop_path_along_the_last_axis(x, kept, rate):
    return x * kept / (1.0 - rate), (kept, rate)


def drop_path_of_what_goes(x, kept, rate):
    return drop_path_by(x, ~kept, rate)


def drop_path_scaled_by_the_rate(x, kept, rate):
    return drop_path_by(x, kept, 1.0 - rate)


def drop_path_for_all(dy, cache):
    return dy / (1.0 - cache[1])


def drop_path_unscaled_backward(dy, cache):
    return dy * cache[0]


def scale_not_summed(dy, cache):
    return layer_scale_backward(dy, cache)[0], dy * cache[0]


def scale_summed_over_tokens(dy, cache):
    return layer_scale_backward(dy, cache)[0], (dy * cache[0]).sum(1)


def scale_summed_over_the_batch(dy, cache):
    return layer_scale_backward(dy, cache)[0], (dy * cache[0]).sum(0)


def scale_mean(dy, cache):
    return layer_scale_backward(dy, cache)[0], (dy * cache[0]).mean((0, 1))


def scale_past_gamma(dy, cache):
    return dy, layer_scale_backward(dy, cache)[1]


def geglu_swapped(dy, cache):
    da, db = geglu_backward(dy, cache)
    return db, da


def geglu_without_second_term(dy, cache):
    a, gate, (_, phi, _) = cache
    return dy * gate, dy * a * phi


def geglu_of_erf_form(dy, cache):
    a, gate, (b, phi, _) = cache
    return dy * gate, dy * a * (phi + b * np.exp(-0.5 * b * b) / math.sqrt(2.0 * math.pi))


def geglu_without_dy(dy, cache):
    return cache[1], geglu_backward(dy, cache)[1]


def geglu_without_a(dy, cache):
    a, gate, gate_cache = cache
    return dy * gate, geglu_backward(dy, (np.ones_like(a), gate, gate_cache))[1]


def geglu_by_gelu(dy, cache):
    a, gate, _ = cache
    return dy * gate, dy * a * gate


WRONG = {
    "6.1": [
        ((drop_path_unscaled, drop_path_by_backward), "off by the factor 0.4"),
        ((drop_path_along_the_last_axis, drop_path_by_backward), "could not be broadcast"),
        ((drop_path_by_scaled_mask, lambda dy, mask: dy * mask), "mask * 0.1"),
        ((drop_path_of_what_goes, drop_path_by_backward), "wrong: at"),
        ((drop_path_scaled_by_the_rate, drop_path_by_backward), "= (1 - rate) / rate"),
        ((drop_path_by, drop_path_for_all), "right but for index 0, 3 of axis 0 (B)"),
        ((drop_path_by, drop_path_unscaled_backward), "= 1 - rate"),
    ],
    "6.2": [
        ((layer_scale, scale_not_summed), "not summed over the first 2 axes"),
        ((layer_scale, scale_summed_over_tokens), "not summed over the batch"),
        ((layer_scale, scale_summed_over_the_batch), "not summed over the first axis"),
        ((layer_scale, scale_mean), "= 1 / (B * T)"),
        ((layer_scale, scale_past_gamma), "wrong: at"),
    ],
    "6.3": [
        ((geglu, geglu_swapped), "this is the gradient of b: swapped"),
        ((geglu, geglu_without_second_term), "wrong: at"),
        ((geglu, geglu_of_erf_form), "nearly right: a constant"),
        ((geglu, geglu_without_dy), "dy is ignored"),
        ((geglu, geglu_without_a), "a is missing: GELU's result gets dy * a"),
        ((geglu, geglu_by_gelu), "GELU itself stands where its derivative belongs"),
    ],
}
