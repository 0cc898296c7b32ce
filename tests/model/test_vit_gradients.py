"""The whole model: every number of every gradient, under every option, against the complex step."""

import itertools
import os

import numpy as np
import pytest
from helpers.cases import TINY
from tolerances import COMPLEX_STEP, ZERO_ABSOLUTE

from minivit.gradcheck import check
from minivit.gradcheck.catalog import model_case
from minivit.model import variant
from minivit.randomness import Key

KEY = Key(seed=1, purpose="dropout", epoch=2, step=3)


FULL = os.environ.get("MINIVIT_TESTS") == "full"


def checked(config, key=None, batch=3, **how):
    case = model_case(config, key, batch)
    return check(case.f, case.f_backward, case.args, names=case.names, **how)


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
    checked(config, KEY).require(COMPLEX_STEP)


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
    checked(TINY.replace(**changes), batch=2).require(COMPLEX_STEP)


def test_with_a_width_of_1_only_what_follows_the_last_norm_learns():
    """Layer norm gives its bias then, and all before it has no gradient: zero up to roundings, not nearly."""
    case = model_case(TINY.replace(width=1, heads=1, classes=1, mlp_width=1))
    gradients = case.f_backward(np.ones((3, 1)), case.f(*case.args)[1])
    for name, g in zip(case.names, gradients, strict=True):
        lives = name in ("norm_bias", "head_weight", "head_bias")
        assert (np.abs(g).max() > 0.1) if lives else (np.abs(g).max() <= ZERO_ABSOLUTE), name


def test_one_image_is_a_batch():
    checked(TINY, KEY, batch=1).require(COMPLEX_STEP)


@pytest.mark.parametrize("pooling", ["class_token", "mean"])
def test_a_middle_sized_model_along_random_directions(pooling):
    """Too many numbers to check one by one, but <dy, J v> = <J' dy, v> holds for any v: tensor by tensor."""
    config = variant("micro/4", depth=2, pooling=pooling, dropout=0.1, drop_path=0.2)
    checked(config, KEY, method="directions", directions=2).require(COMPLEX_STEP)


def test_ti_along_random_directions_of_all_tensors_at_once():
    """5.4 million parameters, 32x32 images: 100 directions in the full profile, 5 in the everyday one."""
    config = variant("Ti/16", image_size=(32, 32), patch_size=(8, 8), dropout=0.1, drop_path=0.2)
    report = checked(config, KEY, batch=2, method="directions", joint=True, directions=100 if FULL else 5)
    report.require(COMPLEX_STEP)
    assert report.worst.tensor == "all 153"
