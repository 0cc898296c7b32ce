"""The whole model: every number of every gradient, under every option, against the complex step."""

import itertools

import numpy as np
import pytest
from helpers.cases import TINY, random, random_images, random_params
from tolerances import COMPLEX_STEP, ZERO_ABSOLUTE

from minivit.gradcheck import check, complex_step_along
from minivit.model import (
    named,
    variant,
    vit,
    vit_backward_with_images,
)
from minivit.model.params import tree_of
from minivit.randomness import Key

KEY = Key(seed=1, purpose="dropout", epoch=2, step=3)


def as_pair(config, key=None):
    """The model as a pair of functions of (images, tensor, tensor, ...), which is what the checker takes."""
    names = [name for name, _ in named(random_params(config))]

    def f(images, *tensors):
        return vit(tree_of(dict(zip(names, tensors, strict=True))), images, config, key=key)

    def f_backward(dlogits, cache):
        gradients, dimages = vit_backward_with_images(dlogits, cache)
        assert [name for name, _ in named(gradients)] == names
        return (dimages, *(x for _, x in named(gradients)))

    return f, f_backward


def arguments(config, batch=3, seed=0):
    return (random_images(config, batch), *(x for _, x in named(random_params(config, seed))))


def worst_error(config, key=None, batch=3):
    return max(check(*as_pair(config, key), arguments(config, batch)))


# Every combination of the options; depth, heads and patches take turns so that each meets each.
OPTIONS = list(
    itertools.product(("class_token", "mean"), ("learned", "sincos", "none"), ("tanh", "erf"), (0.0, 0.3), (0.0, 0.5))
)


@pytest.mark.parametrize(("pooling", "positions", "gelu", "dropout", "drop_path"), OPTIONS)
def test_every_gradient_under_every_option(pooling, positions, gelu, dropout, drop_path):
    turn = OPTIONS.index((pooling, positions, gelu, dropout, drop_path))
    config = TINY.replace(
        pooling=pooling, positions=positions, gelu=gelu, dropout=dropout, drop_path=drop_path,
        heads=(1, 2, 8)[turn % 3], patch_size=((3, 2), (2, 4))[turn % 2], depth=2 if turn % 7 == 3 else 1,
    )  # fmt: skip
    assert worst_error(config, KEY) <= COMPLEX_STEP


@pytest.mark.parametrize(
    "changes",
    [
        {"depth": 3},
        {"image_size": (5, 7), "patch_size": (5, 7)},  # one patch
        {"image_size": (5, 7), "patch_size": (5, 7), "pooling": "mean"},  # one token: attention has nothing to choose
        {"image_size": (2, 5), "patch_size": (1, 1), "channels": 1},  # every pixel a token
        {"width": 1, "heads": 1, "classes": 1, "mlp_width": 1, "depth": 1},
        {"width": 9, "heads": 3, "mlp_width": 2, "eps": 0.1},
    ],
    ids=str,
)
def test_gradients_of_unusual_sizes(changes):
    """With a width of 1 layer norm gives its bias, and all before it has no gradient: absolute there."""
    config = TINY.replace(**changes)
    f, f_backward = as_pair(config)
    args = arguments(config, batch=2)
    if config.width > 1:
        assert max(check(f, f_backward, args)) <= COMPLEX_STEP
        return
    gradients = f_backward(np.ones((2, 1)), f(*args)[1])
    names = ["images", *(name for name, _ in named(random_params(config)))]
    for name, g in zip(names, gradients, strict=True):
        lives = name in ("norm_bias", "head_weight", "head_bias")
        assert (np.abs(g).max() > 0.1) if lives else (np.abs(g).max() <= ZERO_ABSOLUTE), name


def test_one_image_is_a_batch():
    assert worst_error(TINY, KEY, batch=1) <= COMPLEX_STEP


@pytest.mark.parametrize("pooling", ["class_token", "mean"])
def test_a_middle_sized_model_along_random_directions(pooling):
    """1.4 million parameters: too many to check one by one, but <dy, J v> = <J' dy, v> holds for any v.

    A direction of random signs moves one kind of tensor at a time, so that no large one hides a small one.
    """
    config = variant("mini/4", depth=3, pooling=pooling, dropout=0.1, drop_path=0.2)
    names = ["images", *(name for name, _ in named(random_params(config)))]
    kinds = [name.split(".")[-1] for name in names]
    args = arguments(config)
    f, f_backward = as_pair(config, KEY)
    logits, cache = f(*args)
    dy = random(5, *logits.shape)
    gradients = f_backward(dy, cache)
    rng = np.random.default_rng(6)
    for kind in dict.fromkeys(kinds) if pooling == "class_token" else ("images", "positions", "qkv_weight"):
        v = [rng.choice([-1.0, 1.0], a.shape) * (k == kind) for k, a in zip(kinds, args, strict=True)]
        along = (complex_step_along(f, args, v) * dy).sum()
        expected = sum((g * w).sum() for g, w in zip(gradients, v, strict=True))
        # Relative to the lengths of gradient and direction: their product is the most that the sum can be.
        moved = [(g, w) for k, g, w in zip(kinds, gradients, v, strict=True) if k == kind]
        most = sum(np.linalg.norm(g) * np.linalg.norm(w) for g, w in moved)
        assert abs(along - expected) <= COMPLEX_STEP * most, kind
