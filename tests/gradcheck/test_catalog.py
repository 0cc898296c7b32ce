"""The catalogue holds every pair, on arguments that tell every mistake apart."""

import numpy as np
import pytest
from helpers.cases import is_float

from minivit import functions
from minivit.gradcheck.catalog import FUNCTIONS, MODELS, TINY, model_case, normal, random_images, random_params
from minivit.model import count_params, named, variant


def test_every_exported_pair_is_in_it():
    pairs = {name for name in functions.__all__ if f"{name}_backward" in functions.__all__}
    assert pairs == {case.f.__name__ for case in FUNCTIONS.values()}
    assert set(MODELS) == {"block", "vit", "vit_mean"}


@pytest.mark.parametrize("name", FUNCTIONS | MODELS)
def test_names_are_those_of_the_arguments(name):
    case = (FUNCTIONS | MODELS)[name]
    assert case.names is None or len(case.names) == len(case.args)
    gradients = case.f_backward(np.ones_like(case.f(*case.args)[0]), case.f(*case.args)[1])
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    assert [g.shape for g in gradients] == [a.shape for a in case.args if is_float(a)]


def test_a_model_case_has_every_parameter_of_the_model():
    config = TINY.replace(pooling="mean", positions="none")
    case = model_case(config)
    assert case.names == ("images", *(name for name, _ in named(random_params(config))))
    assert sum(a.size for a in case.args[1:]) == count_params(config)


def test_random_parameters_keep_every_term_alive_in_a_model_of_any_width():
    for config in (TINY, variant("mini/4", depth=2)):
        for name, x in named(random_params(config)):
            assert (x != 0.0).all(), name
            if name.endswith("_weight") and x.size > 1000:
                assert x.std() == pytest.approx(x.shape[0] ** -0.5, rel=0.1), name
            if name.endswith("_gain"):
                assert (x != 1.0).all(), name


def test_casting_leaves_settings_and_labels_alone():
    narrow = FUNCTIONS["cross_entropy"].cast(np.float32)
    assert narrow.args[0].dtype == np.float32
    assert narrow.args[1].dtype == np.int64
    assert narrow.args[2] == 0.1


def test_seeds_are_other_numbers_of_the_same_shapes():
    assert random_images(TINY, 2).shape == (2, 2, 6, 4)
    assert not np.array_equal(normal(1, 3), normal(2, 3))
    assert np.array_equal(normal(1, 3), normal(1, 3))
    assert np.array_equal(normal(1, 3) * 2.0, normal(1, 3, scale=2.0))
