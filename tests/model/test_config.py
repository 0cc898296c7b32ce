"""Every impossible configuration is refused with a sentence: the field, its value, and what would work."""

import dataclasses
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minivit.errors import MinivitError
from minivit.model import ViTConfig


def refusal(**fields):
    with pytest.raises(MinivitError) as error:
        ViTConfig(**fields)
    return str(error.value)


def test_defaults_are_a_model_for_cifar():
    config = ViTConfig()
    assert (config.image_size, config.patch_size, config.classes) == ((32, 32), (4, 4), 10)
    assert (config.dropout, config.drop_path, config.eps, config.gelu) == (0.0, 0.0, 1e-6, "tanh")


def test_integers_become_pairs_and_lists_tuples():
    config = ViTConfig(image_size=48, patch_size=[16, 12])
    assert config.image_size == (48, 48)
    assert config.patch_size == (16, 12)
    assert hash(config) == hash(ViTConfig(image_size=(48, 48), patch_size=(16, 12)))


def test_mlp_width_0_means_four_times_the_width():
    assert ViTConfig().mlp_width == 384
    assert ViTConfig(width=24).mlp_width == 96
    assert ViTConfig(width=24, mlp_width=5).mlp_width == 5


def test_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ViTConfig().width = 5


def test_fields_are_named_not_counted():
    with pytest.raises(TypeError):
        ViTConfig((32, 32))


def test_what_follows_from_the_sizes():
    config = ViTConfig(image_size=(48, 30), patch_size=(16, 5), channels=2)
    assert config.grid == (3, 6)
    assert config.patches == 18
    assert config.tokens == 19
    assert config.replace(pooling="mean").tokens == 18
    assert config.patch_values == 16 * 5 * 2


def test_replace_checks_again_and_leaves_the_original():
    config = ViTConfig()
    assert config.replace(width=192).width == 192
    assert config.width == 96
    with pytest.raises(MinivitError, match="heads is 5"):
        config.replace(heads=5)


@pytest.mark.parametrize("name", ["image_size", "patch_size"])
@pytest.mark.parametrize("value", [0, -4, (4,), (4, 4, 4), (4, 0), (4.0, 4.0), 4.0, "4", None, (True, True), True])
def test_sizes_that_are_none(name, value):
    text = refusal(**{"patch_size": 1, name: value})
    assert text.startswith(f"{name} is ")
    assert text.endswith("expected one positive integer or two, (height, width), such as (32, 32)")


@pytest.mark.parametrize("name", ["channels", "classes", "width", "depth", "heads", "mlp_width"])
@pytest.mark.parametrize("value", [0, -1, 2.0, "3", None, True])
def test_counts_that_are_none(name, value):
    if (name, value) == ("mlp_width", 0):  # the one 0 with a meaning
        assert ViTConfig(mlp_width=0).mlp_width == 4 * 96
        return
    least = 0 if name == "mlp_width" else 1
    assert refusal(**{name: value}) == f"{name} is {value!r}; expected an integer of at least {least}"


@pytest.mark.parametrize("name", ["dropout", "drop_path"])
@pytest.mark.parametrize("value", [-0.1, 1.0, 1, math.nan, math.inf, "0.1", None])
def test_shares_that_are_none(name, value):
    assert refusal(**{name: value}) == f"{name} is {value!r}; expected a share from 0 to just under 1, such as 0.1"


@pytest.mark.parametrize("value", [0.0, -1e-6, 1.0, math.nan, "1e-6", None])
def test_an_eps_that_is_none(value):
    assert refusal(eps=value) == f"eps is {value!r}; expected a small positive number, such as 1e-6"


@pytest.mark.parametrize(
    ("name", "value", "known"),
    [
        ("pooling", "max", "'class_token', 'mean'"),
        ("positions", "sin", "'learned', 'sincos', 'none'"),
        ("positions", None, "'learned', 'sincos', 'none'"),
        ("gelu", "relu", "'tanh', 'erf'"),
    ],
)
def test_choices_that_are_none(name, value, known):
    assert refusal(**{name: value}) == f"{name} is {value!r}; expected one of {known}"


def test_a_patch_that_does_not_divide_names_the_side_and_its_neighbours():
    assert refusal(image_size=(32, 30), patch_size=4) == (
        "patch_size (4, 4) does not divide image_size (32, 30): width 30 is not a multiple of 4; "
        "a patch width of 3 or 5 would work"
    )
    assert "height 30 is not a multiple of 4; a patch height of 3 or 5" in refusal(image_size=(30, 32), patch_size=4)
    assert "a patch height of 32 would work" in refusal(image_size=32, patch_size=50)


def test_heads_that_do_not_divide_name_their_neighbours():
    assert refusal(width=96, heads=5) == (
        "heads is 5, which does not divide width 96; 4 or 6 heads would work, or a width of 95"
    )
    assert "; 2 or 7 heads would work" in refusal(width=14, heads=4)


def test_sincos_needs_a_width_of_quarters():
    assert refusal(positions="sincos", width=90, heads=1) == (
        "width is 90, but positions 'sincos' needs a multiple of 4, at least 8; 88 would work"
    )
    assert "8 would work" in refusal(positions="sincos", width=4, heads=1)
    ViTConfig(positions="learned", width=90, heads=1)


def test_size_in_words() -> None:
    assert ViTConfig(width=384, depth=7, heads=6).in_words == "7 blocks, width 384, 6 heads"
    assert ViTConfig(width=16, depth=2, heads=2).in_words == "2 blocks, width 16, 2 heads"
    assert ViTConfig(width=16, depth=1, heads=1).in_words == "1 block, width 16, 1 head"


@given(st.integers(1, 60), st.integers(1, 60))
def test_a_hint_about_patches_can_be_followed(image, patch):
    if image % patch == 0:
        ViTConfig(image_size=image, patch_size=patch)
        return
    for fits in re.search(r"a patch height of (.*) would work", refusal(image_size=image, patch_size=patch))[1].split(
        " or "
    ):
        ViTConfig(image_size=image, patch_size=int(fits))


@given(st.integers(1, 60), st.integers(1, 60))
def test_a_hint_about_heads_can_be_followed(width, heads):
    if width % heads == 0:
        ViTConfig(width=width, heads=heads)
        return
    hint = re.search(r"; (.*) heads would work, or a width of (\d+)$", refusal(width=width, heads=heads))
    for fits in hint[1].split(" or "):
        ViTConfig(width=width, heads=int(fits))
    ViTConfig(width=int(hint[2]), heads=heads)


@given(st.integers(1, 20), st.sampled_from([1, 2, 3, 5]))
def test_a_hint_about_sincos_can_be_followed(share, heads):
    width = share * heads
    if width % 4 == 0 and width >= 8:
        ViTConfig(width=width, heads=heads, positions="sincos")
        return
    hint = re.search(r"at least 8; (\d+) would work$", refusal(width=width, heads=heads, positions="sincos"))
    ViTConfig(width=int(hint[1]), heads=heads, positions="sincos")


def test_a_hint_is_found_at_once_however_large_the_numbers():
    assert "5 or 8 heads would work" in refusal(width=10**12, heads=7)
    assert "1 or 1000000000039 heads would work" in refusal(width=10**12 + 39, heads=7)  # a prime
    assert "96 heads would work" in refusal(width=96, heads=10**30)
