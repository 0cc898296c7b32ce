"""Randomness by address: the same address, the same numbers, whatever was drawn elsewhere."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minivit.randomness import PURPOSES, Key, generator, uniform

HOME = Key(seed=7, purpose="augment", epoch=3, step=11, site=2)
numbers = st.integers(0, 2**64 - 1)


def draw(key, n=8):
    return generator(key).random(n)


@given(numbers, st.sampled_from(PURPOSES), numbers, numbers, numbers)
def test_an_address_is_a_stream(seed, purpose, epoch, step, site):
    """Every 64-bit number is an address; asking twice gives the same stream from its start."""
    key = Key(seed, purpose, epoch, step, site)
    assert np.array_equal(draw(key), draw(key))


def test_every_field_is_part_of_the_address():
    others = [HOME._replace(purpose=p) for p in PURPOSES if p != HOME.purpose]
    others += [HOME._replace(**{name: 5}) for name in ("seed", "epoch", "step", "site")]
    others += [Key(seed=3, purpose="augment", epoch=7, step=11, site=2), Key(7, "augment", 11, 3, 2)]
    streams = {tuple(draw(key)) for key in [HOME, *others]}
    assert len(streams) == 1 + len(others)


def test_uniform_numbers_are_the_generators():
    assert np.array_equal(uniform(HOME, (5, 7)), generator(HOME).random((5, 7), dtype=np.float32))
    assert np.array_equal(uniform(HOME._replace(image=3), (2, 7)), uniform(HOME, (5, 7))[3:])
    assert generator(HOME, 3).bit_generator.random_raw() == generator(HOME).bit_generator.random_raw(13)[12]


def test_streams_do_not_overlap():
    """Neighbouring sites, steps and epochs: 20000 raw numbers each, no two alike (64 bits: a chance of 1e-10)."""
    keys = [HOME, HOME.at(3), HOME._replace(step=12), HOME._replace(epoch=4), HOME._replace(seed=8)]
    raw = np.concatenate([generator(key).bit_generator.random_raw(20_000) for key in keys])
    assert len(np.unique(raw)) == len(raw)


def test_neighbouring_streams_are_not_correlated():
    a, b = generator(HOME).standard_normal(20_000), generator(HOME.at(3)).standard_normal(20_000)
    assert abs(np.corrcoef(a, b)[0, 1]) < 5 / 20_000**0.5


def test_what_is_drawn_elsewhere_does_not_matter():
    expected = draw(HOME)
    np.random.seed(0)  # noqa: NPY002
    first, second = generator(HOME), generator(HOME.at(5))
    second.random(1000)
    assert np.array_equal(first.random(8), expected)
    second.random(1000)
    assert np.array_equal(draw(HOME), expected)


def philox(counter, key):
    """One block of Philox4x64-10, as in section 3.3 of the paper, on Python integers."""
    c, k, mask = list(counter), list(key), 2**64 - 1
    for _ in range(10):
        first, second = 0xD2E7470EE14C6C93 * c[0], 0xCA5A826395121157 * c[2]
        c = [(second >> 64) ^ c[1] ^ k[0], second & mask, (first >> 64) ^ c[3] ^ k[1], first & mask]
        k = [(k[0] + 0x9E3779B97F4A7C15) & mask, (k[1] + 0xBB67AE8584CAA73B) & mask]
    return c


def test_the_numbers_are_those_of_the_paper():
    """Key (seed, purpose), counter (draws, site, step, epoch); NumPy counts up before the first block."""
    key = (HOME.seed, PURPOSES.index(HOME.purpose))
    blocks = [philox((i, HOME.site, HOME.step, HOME.epoch), key) for i in (1, 2)]
    assert generator(HOME).bit_generator.random_raw(8).tolist() == [*blocks[0], *blocks[1]]


def test_the_first_numbers_are_these_for_ever():
    """Golden values: a published seed must mean the same model tomorrow."""
    assert generator(HOME).bit_generator.random_raw(2).tolist() == [13807674728231990805, 6637107190892117964]
    assert draw(HOME, 2).tolist() == [0.748515546866116, 0.3597983017692198]
    assert Key(7, "augment") == (7, "augment", 0, 0, 0, 0)


def test_the_order_of_the_purposes_is_part_of_every_seed():
    assert PURPOSES[:6] == ("init", "shuffle", "augment", "dropout", "shapes", "split")


def test_at_changes_the_site_alone():
    assert HOME.at(9) == HOME._replace(site=9)
    assert HOME.site == 2


def test_an_unknown_purpose_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match="purpose 'drop' is not one of init, shuffle, augment, dropout"):
        generator(Key(0, "drop"))


@pytest.mark.parametrize("name", ["seed", "epoch", "step", "site", "image"])
@pytest.mark.parametrize("value", [-1, 2**64])
def test_a_number_beyond_64_bits_is_named(name, value):
    with pytest.raises(ValueError, match=rf"{name} {value} is not an integer from 0 to 2\*\*64 - 1"):
        generator(HOME._replace(**{name: value}))


@pytest.mark.parametrize("name", ["seed", "epoch", "step", "site", "image"])
def test_a_fraction_is_no_address(name):
    """Truncated silently, 1.5 would share its stream with 1."""
    with pytest.raises((ValueError, TypeError), match=r"1\.5"):
        generator(HOME._replace(**{name: 1.5}))


@pytest.mark.parametrize(("kind", "image", "shape"), [(np.int32, 2**20, (2, 49920)), (np.uint8, 200, (2, 3))])
def test_numpys_integers_are_addresses_too(kind, image, shape):
    key = Key(0, "dropout")
    expected = uniform(key._replace(image=image), shape)
    np.testing.assert_array_equal(uniform(key._replace(image=kind(image)), shape), expected)


@pytest.mark.parametrize("size", [16, 1000])  # of 16, it is the first image beyond
def test_an_image_beyond_the_stream_is_named(size):
    said = rf"randomness: image 9223372036854775808 of \({size},\) numbers lies beyond"
    with pytest.raises(ValueError, match=said):
        uniform(Key(0, "dropout", image=2**63), (1, size))
