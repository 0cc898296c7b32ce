"""Wrong answers to the exercises of 04."""

import numpy as np

from minivit.lessons.answers.n04_layer_norm import fold, norm_of_eps, norm_of_eps_backward, rms_norm, rms_norm_backward


def rms_without_sum(dy, cache):
    _, g, r = cache
    return dy * g * r, rms_norm_backward(dy, cache)[1]


def rms_as_layer_norm(dy, cache):
    dx, dg = rms_norm_backward(dy, cache)
    return dx - dx.mean(-1, keepdims=True), dg


def rms_dg_of_one_axis(dy, cache):
    x, _, r = cache
    return rms_norm_backward(dy, cache)[0], (dy * x * r).sum(0)


def rms_without_g(dy, cache):
    x, _, r = cache
    u = x * r
    return r * (dy - u * (dy * u).mean(-1, keepdims=True)), rms_norm_backward(dy, cache)[1]


def rms_dg_by_x(dy, cache):
    x, _, _ = cache
    return rms_norm_backward(dy, cache)[0], (dy * x).reshape(-1, x.shape[-1]).sum(0)


def eps_sign(dy, cache):
    dx, deps = norm_of_eps_backward(dy, cache)
    return dx, -deps


def eps_without_half(dy, cache):
    dx, deps = norm_of_eps_backward(dy, cache)
    return dx, 2 * deps


def eps_of_three_axes_only(dy, cache):
    u, r = cache
    return norm_of_eps_backward(dy, cache)[0], -0.5 * np.einsum("btd,btd,btx->", dy, u, r * r)


def eps_not_summed(dy, cache):
    u, r = cache
    return norm_of_eps_backward(dy, cache)[0], -0.5 * (dy * u * r * r)


WRONG = {
    "4.1": [
        ((rms_norm, rms_without_sum), "a sum over the row is missing"),
        ((rms_norm, rms_as_layer_norm), "correct but for the mean term"),
        ((rms_norm, rms_without_g), "g is missing: the normalised x gets dy * g"),
        ((rms_norm, rms_dg_by_x), "g meets the normalised x, x * r"),
        ((rms_norm, rms_dg_of_one_axis), "not summed over the first axis"),
        ((lambda x, g, eps=0.0: rms_norm(x, g), rms_norm_backward), "eps is an argument: use what is given, not 1e-6"),
    ],
    "4.2": [
        ((norm_of_eps, eps_sign), "the sign is wrong"),
        ((norm_of_eps, eps_without_half), "off by the factor 2\n"),
        ((norm_of_eps, eps_of_three_axes_only), "raised"),
        ((norm_of_eps, eps_not_summed), "not summed"),
    ],
    "4.3": [
        ((lambda g, b, w, c: (w * g.mean(), b @ w + c),), "wrong: at"),
        ((lambda g, b, w, c: (g[:, None] * w, c),), "b is missing: the layer maps it, too"),
        ((lambda g, b, w, c: (g[:, None] * w, b @ w),), "c is missing: it stays"),
        ((lambda g, b, w, c: (g[:, None] * w, g @ w + c),), "g stands in the place of b"),
        ((lambda g, b, w, c: (fold(g, b, w, c)[0].T, b @ w + c),), "transposed"),
        (
            (lambda g, b, w, c: (g[:, None] * w, b @ (g[:, None] * w) + c),),
            "b is mapped by the folded weight: expected by w as it was",
        ),
        ((lambda g, b, w, c: (w, b @ w + c),), "g is missing: row d of w is scaled by g[d]"),
        ((lambda g, b, w, c: np.multiply(w, g[:, None], out=w),), "returned"),
    ],
}
