"""Images and parameters that the model refuses, in one sentence each."""

import numpy as np
import pytest
from helpers.cases import TINY, random_images, random_params

from minivit.model import count_params, init_params, variant, vit, vit_backward
from minivit.model.vit import position_table


@pytest.mark.parametrize("shape", [(2, 6, 4), (3, 2, 4, 6), (3, 3, 6, 4), (3, 6, 4, 2), (3, 2, 12, 8)])
def test_images_of_another_shape_are_named(shape):
    with pytest.raises(ValueError, match=r"^vit: images .* need shape \(B, C, H, W\) with .* = \(2, 6, 4\)") as error:
        vit(random_params(TINY), np.zeros(shape), TINY)
    assert str(shape) in str(error.value)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_raw_bytes_are_refused(dtype):
    with pytest.raises(ValueError, match=rf"^vit: images of {np.dtype(dtype)} need to be normalised"):
        vit(random_params(TINY), np.zeros((3, 2, 6, 4), dtype), TINY)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"positions": "none"}, r"positions is \(5, 8\), but the configuration says there is none"),
        ({"pooling": "mean"}, r"class_token is \(8,\), but the configuration says there is none"),
        ({"depth": 1}, r"blocks\.1\.norm1_gain is \(8,\), but the configuration says there is none"),
        ({"depth": 3}, r"blocks\.2\.norm1_gain is missing, but the configuration says \(8,\)"),
        ({"classes": 4}, r"head_weight is \(8, 3\), but the configuration says \(8, 4\)"),
    ],
    ids=str,
)
def test_parameters_of_another_configuration_are_refused(change, words):
    """Used silently, a position table that the configuration does not know would get no gradient."""
    config = TINY.replace(depth=2)
    with pytest.raises(ValueError, match=f"^vit: parameter {words}"):
        vit(random_params(config), random_images(config), config.replace(**change))


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_images_of_another_precision_than_the_parameters_are_refused(dtype):
    """NumPy would compute in the wider of the two, at half the speed, without a word."""
    params = random_params(TINY, dtype=np.float32)
    with pytest.raises(ValueError, match=rf"^vit: images of {np.dtype(dtype)} need .* expected float32, as"):
        vit(params, random_images(TINY, dtype=dtype), TINY)


def test_a_gradient_of_another_shape_than_the_logits_is_named():
    _, cache = vit(random_params(TINY), random_images(TINY), TINY)
    with pytest.raises(ValueError, match=r"^vit_backward: dlogits \(3, 4\) need the shape of the logits, \(3, 3\)"):
        vit_backward(np.zeros((3, 4)), cache)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda p, x, c: vit(None, x, c), "vit: params is of type NoneType; expected ViTParams, as init_params"),
        (lambda p, x, c: vit(x, p, c), "vit: params is of type ndarray; expected ViTParams, as init_params"),
        (lambda p, x, c: vit(p, x, "micro/4"), "vit: config is of type str; expected ViTConfig, such as"),
        (lambda p, x, c: vit(p, x.tolist(), c), "vit: images is of type list; expected an array, as numpy.asarray"),
        (lambda p, x, c: vit_backward(x, None), "vit_backward: cache is of type NoneType; expected ViTCache"),
        (lambda p, x, c: init_params("micro/4"), r"init_params: config is of type str; expected ViTConfig, such as"),
        (lambda p, x, c: count_params(p), r"count_params: config is of type ViTParams; expected ViTConfig, such as"),
        (lambda p, x, c: variant(3), "variant: name is of type int; expected str, such as 'micro/4'"),
    ],
)  # fmt: skip
def test_what_is_something_else_altogether_is_named(call, said):
    with pytest.raises(TypeError, match=f"^{said}"):
        call(random_params(TINY), random_images(TINY), TINY)


@pytest.mark.parametrize(
    ("name", "dtype"), [("head_weight", np.float64), ("norm_gain", np.int64), ("positions", np.float16)]
)
def test_parameters_of_two_types_are_refused(name, dtype):
    config = variant("micro/4")
    params = init_params(config)
    mixed = params._replace(**{name: getattr(params, name).astype(dtype)})
    with pytest.raises(ValueError, match=f"^vit: parameter {name} is of {np.dtype(dtype)}, patch_weight of float32"):
        vit(mixed, np.zeros((1, 3, 32, 32), np.float32), config)


def test_nobody_changes_the_table_of_positions():
    """It is one for all models of a configuration."""
    table = position_table(variant("micro/4").replace(positions="sincos"), np)
    with pytest.raises(ValueError, match="read-only"):
        table[0] = 1.0
