"""Optimisers against their equations written out, number by number, and against PyTorch."""

import numpy as np
import pytest

from minivit.model import ViTConfig, flatten, init_params
from minivit.training.optimizers import adamw, clip_by_norm, fresh_moments, sgd
from minivit.training.settings import TrainSettings


def run(update, settings, name, steps=5, size=12, decayed=7):
    """Parameters before and after some steps on random gradients, and those gradients."""
    rng = np.random.default_rng(0)
    params = rng.standard_normal(size)
    before = params.copy()
    gradients = [rng.standard_normal(size) for _ in range(steps)]
    moments = fresh_moments(params, name)
    for step, gradient in enumerate(gradients, 1):
        update(params, gradient.copy(), moments, step, 0.01 * step, decayed, settings)
    return before, params, gradients


def test_adamw_follows_its_equations_for_each_number():
    s = TrainSettings(weight_decay=0.3, beta1=0.8, beta2=0.95, adam_eps=1e-6)
    before, after, gradients = run(adamw, s, "adamw")
    for i, p in enumerate(before):
        m = v = 0.0
        for t, g in enumerate(gradients, 1):
            rate = 0.01 * t
            m = s.beta1 * m + (1 - s.beta1) * g[i]
            v = s.beta2 * v + (1 - s.beta2) * g[i] ** 2
            if i < 7:
                p -= rate * s.weight_decay * p
            p -= rate * (m / (1 - s.beta1**t)) / ((v / (1 - s.beta2**t)) ** 0.5 + s.adam_eps)
        assert after[i] == pytest.approx(p, rel=1e-12)


def test_sgd_follows_its_equations_for_each_number():
    s = TrainSettings(optimizer="sgd", weight_decay=0.3, momentum=0.7)
    before, after, gradients = run(sgd, s, "sgd")
    for i, p in enumerate(before):
        m = 0.0
        for t, g in enumerate(gradients, 1):
            m = s.momentum * m + g[i] + (s.weight_decay * p if i < 7 else 0.0)
            p -= 0.01 * t * m
        assert after[i] == pytest.approx(p, rel=1e-12)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_agrees_with_torch_optim(name):
    torch = pytest.importorskip("torch")
    s = TrainSettings(optimizer=name, weight_decay=0.2)
    before, after, gradients = run({"adamw": adamw, "sgd": sgd}[name], s, name, decayed=12)
    p = torch.nn.Parameter(torch.tensor(before))
    if name == "adamw":
        theirs = torch.optim.AdamW([p], betas=(s.beta1, s.beta2), eps=s.adam_eps, weight_decay=0.2)
    else:
        theirs = torch.optim.SGD([p], lr=1.0, momentum=s.momentum, weight_decay=0.2)
    for t, g in enumerate(gradients, 1):
        theirs.param_groups[0]["lr"] = 0.01 * t
        p.grad = torch.tensor(g)
        theirs.step()
    assert np.linalg.norm(after - p.detach().numpy()) <= 1e-12 * np.linalg.norm(after)


def test_a_gap_between_tensors_stays_zero():
    flat = flatten(init_params(ViTConfig(width=6, depth=1, heads=2, classes=3), dtype=np.float64))
    gradient = flatten(flat.tree)
    used = np.zeros(flat.buffer.size, bool)
    marked = flatten(flat.tree)
    marked.buffer[...] = 0
    for x in _tensors(marked.tree):
        x[...] = 1
    used = marked.buffer == 1
    assert not used.all()
    adamw(flat.buffer, gradient.buffer, fresh_moments(flat.buffer, "adamw"), 1, 0.1, flat.decayed, TrainSettings())
    assert not flat.buffer[~used].any()


def _tensors(tree):
    from minivit.model import named

    return [x for _, x in named(tree)]


def test_clipping_scales_to_the_limit_and_tells_the_norm():
    g = np.array([3.0, 4.0])
    assert clip_by_norm(g, 1.0) == pytest.approx(5.0)
    assert g == pytest.approx([0.6, 0.8])


@pytest.mark.parametrize("limit", [0.0, 5.1])
def test_clipping_leaves_a_small_gradient_and_a_limit_of_0_alone(limit):
    g = np.array([3.0, 4.0])
    assert clip_by_norm(g, limit) == pytest.approx(5.0)
    assert g.tolist() == [3.0, 4.0]
