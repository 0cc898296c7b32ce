"""What is real for complex numbers hides a term of the derivative from the complex step: it is not believed then."""

import numpy as np
import pytest
from helpers.cases import random

from minivit.gradcheck import GradcheckError, check


def layer_norm(x, g):
    """With x.var, which is real for complex x."""
    s = 1 / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    h = (x - x.mean(-1, keepdims=True)) * s
    return h * g, (h, s, g)


def layer_norm_backward(dy, cache):
    """The term of the variance is forgotten."""
    h, s, g = cache
    du = dy * g
    return (du - du.mean(-1, keepdims=True)) * s, (dy * h).sum(0)


def unit(x):
    n = np.linalg.norm(x, axis=-1, keepdims=True)
    return x / n, n


def softplus(x):
    return np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x))), x


HIDING = {
    "var": (layer_norm, layer_norm_backward, (random(1, 3, 5), random(2, 5))),
    "norm": (unit, lambda dy, n: dy / n, (random(1, 3, 5),)),
    "abs": (lambda x: (x * np.abs(x), x), lambda dy, x: dy * np.abs(x), (random(1, 3, 5),)),
    "maximum": (softplus, lambda dy, x: dy * (x > 0), (random(1, 3, 5),)),
}


@pytest.mark.parametrize("how", [{}, {"method": "directions"}, {"method": "directions", "joint": True}], ids=str)
@pytest.mark.parametrize("name", HIDING)
def test_a_backward_pass_without_the_term_that_is_hidden_is_not_right(name, how):
    with pytest.raises(GradcheckError, match=r"is not real-analytic: by .*use method='central'"):
        check(*HIDING[name], **how)
    assert not check(*HIDING[name], method="central").passed


@pytest.mark.parametrize("method", ["complex_step", "directions"])
def test_where_differences_tell_nothing_the_complex_step_is_believed(method):
    """At the edge of f's domain, beside a large constant, and at a loss's end, where all is roundings."""
    x, w = random(1, 3, 5), random(3, 5)
    with np.errstate(invalid="ignore", divide="ignore"):
        edge = (np.array([1e-5, 1.0, 10.0]),)
        check(lambda x: (np.log(x), x), lambda dy, x: dy / x, edge, method=method).require()
    check(lambda x: (x * x + 1e15, x), lambda dy, x: 2.0 * x * dy, (x,), method=method).require()

    def loss(x, w, t):
        d = (x * w).sum(-1) - t
        return (d * d).mean(), (x, w, d)

    def loss_backward(dy, cache):
        x, w, d = cache
        g = 2.0 * dy * d / d.size
        return g[:, None] * w, (x * g[:, None]).sum(0), -g

    check(loss, loss_backward, (x, w, (x * w).sum(-1)), method=method).require()
