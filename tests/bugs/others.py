"""Gradient checks of other projects, at their tolerances, so that one can say which bugs they let pass.

    torch.autograd.gradcheck    central differences, eps 1e-6; every entry of the Jacobian within
                                1e-5 + 1e-3 |numeric|; the backward pass twice the same, and 0 for dy = 0
    chainer check_backward      one random direction of length 1, central difference, eps 1e-3; the slope within
                                1e-5 + 1e-4 |numeric|
    llm.c test_gpt2.c           every number of every gradient within 2e-2 of the right one

Each is run in float64 on the same pair and arguments as minivit's check. llm.c compares the gradients of a mean
loss, which are smaller than these: the comparison is kind to it.

Sources: PyTorch 2.13, torch/autograd/gradcheck.py; Chainer 7.8, chainer/gradient_check.py; llm.c,
test_gpt2.c (function check_tensor).
"""

import functools

import numpy as np
from helpers.cases import as_tuple, is_float

from minivit.gradcheck import complex_step_gradients


def torch_passes(case, f_backward):
    """Whether torch.autograd.gradcheck would accept the pair."""
    numeric = _numeric_jacobian(case)
    where = [i for i, a in enumerate(case.args) if is_float(a)]
    y, cache = case.f(*case.args)
    # It computes the numeric side between the forward pass and the backward passes; the last call of the
    # function is this one.
    last = list(case.args)
    last[where[-1]] = _moved(last[where[-1]], -1, -1e-6)
    case.f(*last)
    if any(g is not None and g.any() for g in as_tuple(f_backward(np.zeros_like(y), cache))):
        return False  # "backward not multiplied by grad_output"
    for j in range(y.size):
        dy = np.zeros_like(y)
        dy.flat[j] = 1.0
        rows = [_of_both(f_backward, dy.copy(), cache) for _ in range(2)]
        for i, (once, twice) in enumerate(zip(*rows, strict=True)):
            if once is None:
                once = twice = np.zeros_like(case.args[where[i]])
            if once.shape != case.args[where[i]].shape or not np.array_equal(once, twice):
                return False
            if not np.allclose(once.ravel(), numeric[i][:, j], rtol=1e-3, atol=1e-5):
                return False
    return True


def _of_both(f_backward, dy, cache):
    return [None if g is None else np.array(g) for g in as_tuple(f_backward(dy, cache))]


@functools.cache
def _jacobian_of(key):
    case = _CASES[key]
    jacobians = []
    for i, a in enumerate(case.args):
        if is_float(a):
            rows = []
            for j in range(a.size):
                up, down = (
                    case.f(*case.args[:i], _moved(a, j, h), *case.args[i + 1 :])[0].copy() for h in (1e-6, -1e-6)
                )
                rows.append(((up - down) / 2e-6).ravel())
            jacobians.append(np.array(rows))
    return jacobians


_CASES = {}


def _numeric_jacobian(case):
    """(size of the argument, size of y) for each float argument; computed once a case, as f is never broken."""
    key = (id(case.f), *(id(a) for a in case.args))
    _CASES[key] = case
    return _jacobian_of(key)


def _moved(a, j, h):
    moved = a.copy()
    moved.flat[j] += h
    return moved


def chainer_passes(case, f_backward, draws=11):
    """Whether chainer's check_backward accepts the pair in most of several draws."""
    return sum(_chainer_once(case, f_backward, seed) for seed in range(draws)) > draws / 2


def _chainer_once(case, f_backward, seed):
    rng = np.random.default_rng(seed)
    y, cache = case.f(*case.args)
    dy = np.asarray(rng.uniform(-1.0, 1.0, y.shape))
    gradients = as_tuple(f_backward(dy, cache))
    directions = [rng.standard_normal(a.shape) for a in case.args if is_float(a)]
    length = np.sqrt(sum((v * v).sum() for v in directions))
    directions = [v / length for v in directions]
    if any(g is None for g in gradients):
        return False  # "gradients of some inputs are missing"
    found = sum((g * v).sum() for g, v in zip(gradients, directions, strict=True))

    def loss(h):
        pending = iter(directions)
        return (case.f(*(a + h * next(pending) if is_float(a) else a for a in case.args))[0] * dy).sum()

    numeric = (loss(1e-3) - loss(-1e-3)) / 2e-3
    return bool(abs(found - numeric) <= 1e-5 + 1e-4 * abs(numeric))


def llm_c_passes(case, f_backward, seed=0):
    """Whether every number is within 2e-2 of the right gradient, as llm.c compares with PyTorch's."""
    y, cache = case.f(*case.args)
    dy = np.asarray(np.random.default_rng(seed).standard_normal(y.shape))
    found = as_tuple(f_backward(dy, cache))
    expected = complex_step_gradients(case.f, case.args, dy)
    return all(a is not None and np.abs(a - b).max() <= 2e-2 for a, b in zip(found, expected, strict=True))
