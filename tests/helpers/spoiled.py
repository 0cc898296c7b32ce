"""Right pairs, and what is said of one that was spoiled."""

import numpy as np

from helpers.cases import random
from minivit.functions import layer_norm, layer_norm_backward, linear, linear_backward, softmax, softmax_backward
from minivit.gradcheck import check


def cube(x):
    return x * x * x, x


def cube_backward(dy, cache):
    return 3.0 * cache * cache * dy


def tokens_linear(x, w, b):
    """Map x (B, T, D) by w (D, F) and b (F,)."""
    return linear(x, w, b)


LINEAR = (tokens_linear, linear_backward, (random(1, 3, 5, 4), random(2, 4, 6), random(3, 6)))


SQUARE = (tokens_linear, linear_backward, (random(1, 3, 5, 4), random(2, 4, 4), random(3, 4)))


NORM = (layer_norm, layer_norm_backward, (random(4, 2, 3, 7), random(5, 7), random(6, 7)))


SOFTMAX = (softmax, softmax_backward, (random(7, 3, 5),))


def said(pair, change, tensor, **how):
    """The verdict on one tensor after `change(gradients, dy, cache)` has replaced some."""
    f, f_backward, args = pair

    def broken(dy, cache):
        gradients = f_backward(dy, cache)
        gradients = dict(zip("xwb", gradients if isinstance(gradients, tuple) else (gradients,), strict=False))
        gradients.update(change(gradients, dy, cache))
        return tuple(gradients.values())

    row = check(f, broken, args, **how)["d" + tensor]
    assert not row.passed
    return row.verdict


def named(f, f_backward, *args):
    """The tensor and verdict of the one promise that is broken."""
    report = check(f, f_backward, args)
    assert not report.passed
    assert report.worst.error == np.inf
    return report.worst.tensor, report.worst.verdict
