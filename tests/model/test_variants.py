"""The named models have the published numbers of parameters, and counting them allocates nothing."""

import tracemalloc

import pytest

from minivit.errors import MinivitError
from minivit.model import VARIANTS, count_params, variant

PUBLISHED = {
    "Ti/16": 5_717_416,
    "S/16": 22_050_664,
    "B/16": 86_567_656,
    "B/32": 88_224_232,
    "L/16": 304_326_632,
    "L/32": 306_535_400,
    "H/14": 632_045_800,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_parameter_counts(name):
    assert count_params(variant(name)) == PUBLISHED[name]


def test_counting_is_arithmetic():
    """H/14 holds 2.5 GB of float32; counting it takes less than 1 MB."""
    tracemalloc.start()
    try:
        count_params(variant("H/14"))
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("name", "width", "depth", "heads"),
    [
        ("Ti/16", 192, 12, 3),
        ("S/32", 384, 12, 6),
        ("B/16", 768, 12, 12),
        ("L/32", 1024, 24, 16),
        ("H/14", 1280, 32, 16),
    ],
)
def test_sizes_of_the_papers(name, width, depth, heads):
    config = variant(name)
    patch = int(name.split("/")[1])
    assert (config.width, config.depth, config.heads, config.mlp_width) == (width, depth, heads, 4 * width)
    assert (config.image_size, config.patch_size, config.classes) == ((224, 224), (patch, patch), 1000)


@pytest.mark.parametrize(
    ("name", "width", "depth", "heads"), [("micro/4", 96, 4, 3), ("mini/4", 192, 6, 3), ("small/4", 384, 7, 6)]
)
def test_the_small_ones_read_cifar(name, width, depth, heads):
    """What was measured of them was measured of these sizes."""
    config = variant(name)
    assert (config.width, config.depth, config.heads, config.mlp_width) == (width, depth, heads, 4 * width)
    assert (config.image_size, config.patch_size, config.channels, config.classes) == ((32, 32), (4, 4), 3, 10)
    assert config.tokens == 65
    assert count_params(config) < 15_000_000


def test_every_name_is_a_model():
    assert len(VARIANTS) == len(set(VARIANTS)) == 11
    assert [variant(name).patch_size[0] for name in VARIANTS] == [int(name.split("/")[1]) for name in VARIANTS]


def test_any_field_can_be_changed_and_is_checked_again():
    config = variant("Ti/16", image_size=384, classes=100, dropout=0.1)
    assert (config.image_size, config.classes, config.dropout, config.width) == ((384, 384), 100, 0.1, 192)
    with pytest.raises(MinivitError, match="does not divide"):
        variant("Ti/16", image_size=100)


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(
        MinivitError, match=r"variant 'ti/16' is not known; expected one of Ti/16, .*\. Did you mean 'Ti/16'\?"
    ):
        variant("ti/16")
    with pytest.raises(MinivitError, match=r"variant 'resnet' is not known; expected one of .*small/4\.$"):
        variant("resnet")


def test_an_unknown_field_is_a_sentence():
    with pytest.raises(MinivitError, match=r"ViTConfig has no field 'widht'; it has .* Did you mean 'width'"):
        variant("micro/4", widht=3)
