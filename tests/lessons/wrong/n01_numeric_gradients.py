"""Wrong answers to the exercises of 01."""

import numpy as np

from minivit.lessons.answers.n01_numeric_gradients import (
    complex_step_gradient,
    gated_linear,
    gated_linear_backward,
    richardson,
)

H = 1e-30


def by_complex_step(f, args, dy, i, cast=lambda a: a.dtype.kind == "f", part=np.imag, restore=True, h=H):
    moved = [a.astype(complex) if cast(a) else a for a in args]
    x = moved[i] = moved[i].astype(complex)
    gradient = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        x[index] += 1j * h
        gradient[index] = (dy * part(f(*moved)[0])).sum() / h
        if restore:
            x[index] -= 1j * h
    return gradient


def not_divided(f, args, dy, i):
    return complex_step_gradient(f, args, dy, i) * H


def turned(f, args, dy, i):
    return complex_step_gradient(f, args, dy, i).T


def without_dy(f, args, dy, i):
    return complex_step_gradient(f, args, np.ones_like(dy), i)


def not_restored(f, args, dy, i):
    return by_complex_step(f, args, dy, i, restore=False)


def real_part(f, args, dy, i):
    return by_complex_step(f, args, dy, i, part=np.real)


def one_cast(f, args, dy, i):
    return by_complex_step(f, args, dy, i, cast=lambda a: False)


def all_cast(f, args, dy, i):
    return by_complex_step(f, args, dy, i, cast=lambda a: True)


def left_complex(f, args, dy, i):
    return complex_step_gradient(f, args, dy, i).astype(complex)


def by_difference(f, args, dy, i):
    gradient = np.empty(args[i].shape)
    for index in np.ndindex(gradient.shape):
        up, down = ([a.copy() for a in args] for _ in range(2))
        up[i][index] += 1e-6
        down[i][index] -= 1e-6
        gradient[index] = (dy * (f(*up)[0] - f(*down)[0])).sum() / 2e-6
    return gradient


def by_long_steps(f, args, dy, i):
    return by_complex_step(f, args, dy, i, h=1e-3)


def in_place(f, args, dy, i):
    gradient = complex_step_gradient(f, args, dy, i)
    args[i][...] = 0.0
    return gradient


def planted(dy, cache):
    x, w, v, a, s = cache
    da = dy
    da *= s
    dz = dy * a * s * (1.0 - s)
    lead = tuple(range(x.ndim - 1))
    return da @ w.T + dz @ v.T, np.tensordot(x, da, (lead, lead)), np.tensordot(x, dz, (lead, lead))


def planted_rewritten(dy, cache):
    x, w, v, a, s = cache
    da = dy * s
    dz = da * a * s * (1.0 - s)
    lead = tuple(range(x.ndim - 1))
    return da @ w.T + dz @ v.T, np.tensordot(x, da, (lead, lead)), np.tensordot(x, dz, (lead, lead))


def gate_forgotten(dy, cache):
    _, w, _, _, s = cache
    _, dw, dv = gated_linear_backward(dy, cache)
    return (dy * s) @ w.T, dw, dv


def swapped(dy, cache):
    dx, dw, dv = gated_linear_backward(dy, cache)
    return dx, dv, dw


def turned_weights(dy, cache):
    dx, dw, dv = gated_linear_backward(dy, cache)
    return dx, dw.T, dv.T


def one_image(dy, cache):
    x, _, _, _, s = cache
    dx, _, dv = gated_linear_backward(dy, cache)
    return dx, x[0].reshape(-1, x.shape[-1]).T @ (dy * s)[0].reshape(-1, dy.shape[-1]), dv


def sign_of_gate(dy, cache):
    dx, dw, dv = gated_linear_backward(dy, cache)
    return dx, dw, -dv


def no_third(f, x, h):
    return 3.0 * richardson(f, x, h)


def half_step_half_seen(f, x, h):
    def d(h):
        return (f(x + h) - f(x - h)) / h

    return (4.0 * d(0.5 * h) - d(h)) / 3.0


def for_forward_differences(f, x, h):
    def d(h):
        return (f(x + h) - f(x - h)) / (2.0 * h)

    return 2.0 * d(0.5 * h) - d(h)


def steps_swapped(f, x, h):
    def d(h):
        return (f(x + h) - f(x - h)) / (2.0 * h)

    return (4.0 * d(h) - d(0.5 * h)) / 3.0


def central(f, x, h):
    return (f(x + h) - f(x - h)) / (2.0 * h)


def mean_of_both(f, x, h):
    return (central(f, x, h) + central(f, x, h / 2)) / 2


def coarse_minus_fine(f, x, h):
    return -richardson(f, x, h)


def one_number(f, x, h):
    return richardson(f, x, h).sum()


WRONG = {
    "1.1": [
        ((not_divided,), "off by the factor 1e-30 = h"),
        ((turned,), "transposed"),
        ((without_dy,), "= 1 / dy"),
        ((not_restored,), "right only for index 0 of axis 1"),
        ((real_part,), "it is the imaginary part of y that is divided by h"),
        ((left_complex,), "the gradient is complex"),
        ((one_cast,), "raised"),
        ((all_cast,), "raised"),
        ((by_difference,), "nearly right: a difference, or a step too long?"),
        ((by_long_steps,), "nearly right: a difference, or a step too long?"),
        ((in_place,), "an argument was changed"),
    ],
    "1.2": [
        ((gated_linear, planted), "dy was changed by the backward pass"),
        ((gated_linear, planted_rewritten), "dz is taken from da, which holds s already"),
        ((gated_linear, gate_forgotten), "wrong: at"),
        ((gated_linear, swapped), "this is the gradient of v: swapped"),
        ((gated_linear, turned_weights), "transposed"),
        ((gated_linear, one_image), "not summed over the batch"),
        ((gated_linear, sign_of_gate), "the sign is wrong"),
    ],
    "1.3": [
        ((no_third,), "off by the factor 3"),
        ((half_step_half_seen,), "off by the factor 2"),
        ((for_forward_differences,), "the error goes by h^2, not by h"),
        ((steps_swapped,), "D(h) and D(h / 2) are swapped"),
        ((mean_of_both,), "a mean of D(h) and D(h / 2) keeps a part of the error"),
        ((lambda f, x, h: richardson(f, x, 2 * h),), "these are D(h) and D(2 h)"),
        ((central,), "this is D(h) alone"),
        ((lambda f, x, h: central(f, x, h / 2),), "this is D(h / 2) alone"),
        ((coarse_minus_fine,), "the sign is wrong"),
        ((one_number,), "has shape ()"),
    ],
}
