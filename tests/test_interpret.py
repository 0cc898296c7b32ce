"""Looking inside: each measure on cases whose answer is known, and on a model."""

import numpy as np
import pytest

import minivit
from minivit.interpret import (
    attention_distance,
    attention_rollout,
    filter_components,
    position_similarity,
    rollout_images,
)

rng = np.random.default_rng(0)


def random_maps(blocks=3, batch=2, heads=2, tokens=7):
    maps = rng.random((blocks, batch, heads, tokens, tokens))
    return list(maps / maps.sum(-1, keepdims=True))


def test_rollout_rows_sum_to_1_and_nothing_is_changed():
    maps = random_maps()
    before = [p.copy() for p in maps]
    rollout = attention_rollout(maps)
    assert rollout.shape == (2, 7, 7)
    assert np.allclose(rollout.sum(-1), 1.0, rtol=0, atol=1e-14)
    assert (rollout > 0).all()
    assert all(np.array_equal(p, b) for p, b in zip(maps, before, strict=True))


def test_rollout_of_one_block_is_half_attention_half_itself():
    (p,) = random_maps(blocks=1)
    assert np.allclose(attention_rollout([p]), (p.mean(1) + np.eye(7)) / 2, rtol=0, atol=1e-15)


def test_rollout_multiplies_later_blocks_from_the_left():
    """Token 0 draws from 1 in the second block, 1 from 2 in the first: 2 reaches 0, not the other way round."""
    hop = np.zeros((2, 1, 1, 3, 3))
    hop[0, 0, 0] = [[1, 0, 0], [0, 0, 1], [0, 0, 1]]
    hop[1, 0, 0] = [[0, 1, 0], [0, 1, 0], [0, 0, 1]]
    rollout = attention_rollout(list(hop))[0]
    assert rollout[0, 2] == 0.25
    assert rollout[2, 0] == 0.0


def test_rollout_of_a_model_and_its_pictures():
    for pooling in ("class_token", "mean"):
        config = minivit.ViTConfig(image_size=(8, 12), patch_size=4, width=16, depth=3, heads=2, pooling=pooling)
        params = minivit.init_params(config, seed=1, dtype=np.float64)
        _, cache = minivit.vit(params, rng.standard_normal((5, 3, 8, 12)), config)
        maps = minivit.attention_maps(cache)
        pictures = rollout_images(maps, config.grid)
        assert pictures.shape == (5, 2, 3)
        assert np.allclose(pictures.sum((1, 2)), 1.0)
    # A mean over tokens that all attend to themselves: every patch counts alike.
    alone = np.broadcast_to(np.eye(6), (1, 2, 6, 6))
    assert np.allclose(rollout_images([alone], (2, 3)), 1 / 6)


def test_rollout_picture_of_the_class_token_is_its_row():
    maps = random_maps(tokens=7)
    row = attention_rollout(maps)[:, 0, 1:]
    assert np.allclose(rollout_images(maps, (2, 3)).reshape(2, 6), row / row.sum(-1, keepdims=True))


@pytest.mark.parametrize(
    ("maps", "got"),
    [
        ([], "none"),
        ([np.ones((2, 3, 3))], r"\(2, 3, 3\)"),
        ([np.ones((1, 1, 3, 3)), np.ones((1, 1, 4, 4))], r"\(1, 1, 3, 3\), \(1, 1, 4, 4\)"),
    ],
)
def test_rollout_refuses_what_are_no_maps(maps, got):
    with pytest.raises(ValueError, match=rf"attention_rollout: maps need one shape .*, got {got}$"):
        attention_rollout(maps)


def test_distance_of_heads_that_look_to_known_places():
    """Head 0 stays where it is, head 1 looks one patch to the right (the last column: to itself)."""
    grid, patch = (2, 3), (4, 5)
    right = np.zeros((6, 6))
    for i in range(6):
        right[i, i + 1 if i % 3 < 2 else i] = 1.0
    p = np.stack([np.eye(6), right])[None]
    assert np.allclose(attention_distance(p, grid, patch), [0.0, 5.0 * 4 / 6])


def test_distance_of_even_attention_is_the_mean_distance_and_the_class_token_does_not_count():
    grid, patch = (3, 2), (2, 2)
    places = np.array([(r * 2, c * 2) for r in range(3) for c in range(2)])
    expected = np.linalg.norm(places[:, None] - places[None], axis=-1).mean()
    even = np.full((4, 1, 7, 7), 0.1)
    even[:, :, :, 0] = 0.4
    assert np.allclose(attention_distance(even, grid, patch), expected)
    with pytest.raises(ValueError, match=r"attention_distance: 7 tokens do not fit a grid of \(2, 2\)"):
        attention_distance(even, (2, 2), patch)


def test_similarity_is_that_of_directions():
    positions = rng.standard_normal((7, 5)) * np.arange(1, 8)[:, None]
    found = position_similarity(positions, (2, 3))
    assert found.shape == (2, 3, 2, 3)
    flat = found.reshape(6, 6)
    assert np.allclose(np.diag(flat), 1.0)
    a, b = positions[1 + 2], positions[1 + 4]
    assert np.isclose(found[0, 2, 1, 1], a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_components_of_filters_made_of_two_patterns_are_these():
    two = np.linalg.qr(rng.standard_normal((12, 2)))[0]  # (P*P*C, 2) for patches of 2x3 pixels and 2 colours
    mix = np.stack([3 * rng.standard_normal(9), rng.standard_normal(9)])
    mix -= mix.mean(1, keepdims=True)
    pictures, shares = filter_components(two @ mix, (2, 3), 3)
    assert pictures.shape == (3, 2, 2, 3)
    flat = pictures.transpose(0, 2, 3, 1).reshape(3, 12)  # (row, column, colour), as patches are
    assert np.allclose(flat @ flat.T, np.eye(3))
    inside = two @ two.T
    assert np.allclose(flat[:2] @ inside, flat[:2])
    assert np.isclose(shares[:2].sum(), 1.0)
    assert shares[0] > shares[1] > shares[2]
    with pytest.raises(ValueError, match="filter_components: count is 10; expected 1 to 9"):
        filter_components(two @ mix, (2, 3), 10)


def test_components_are_of_the_filters_about_their_mean_and_shares_are_of_variance():
    weight = rng.standard_normal((12, 9))
    pictures, shares = filter_components(weight, (2, 2), 9)
    spread = weight - weight.mean(1, keepdims=True)
    flat = pictures.transpose(0, 2, 3, 1).reshape(9, 12)
    assert np.allclose(((flat @ spread) ** 2).sum(1) / (spread**2).sum(), shares)
    moved, moved_shares = filter_components(weight + rng.standard_normal((12, 1)), (2, 2), 8)
    assert np.allclose(moved_shares, shares[:8])
    assert np.allclose(abs((moved * pictures[:8]).sum((1, 2, 3))), 1.0)  # the sign means nothing


def test_the_first_component_may_be_had_alone():
    weight = rng.standard_normal((12, 9))
    (picture,), share = filter_components(weight, (2, 2), 1)
    pictures, shares = filter_components(weight, (2, 2), 2)
    assert np.array_equal(picture, pictures[0])
    assert share.tolist() == shares[:1].tolist()


def test_the_mean_of_narrow_filters_is_wide():
    """Filters far from 0: a mean in float16 would be off by as much as they differ."""
    weight = (10.0 + 0.01 * rng.standard_normal((12, 9))).astype(np.float16)
    shares = filter_components(weight, (2, 2), 9)[1]
    assert np.allclose(shares, filter_components(weight.astype(np.float64), (2, 2), 9)[1], rtol=0, atol=1e-5)


def test_what_has_no_weight_gives_0_and_no_nan():
    alone = np.zeros((1, 1, 7, 7))
    alone[..., 0] = 1.0  # everything looks at the class token
    assert attention_distance(alone, (2, 3), (4, 4)).tolist() == [0.0]
    assert np.array_equal(rollout_images([alone], (2, 3)), np.zeros((1, 2, 3)))
    positions = rng.standard_normal((6, 4))
    positions[2] = 0.0
    assert np.array_equal(position_similarity(positions, (2, 3))[0, 2], np.zeros((2, 3)))


@pytest.mark.parametrize("scale", [20.0, 1e-4])
def test_float16_is_computed_in_float32(scale):
    positions = (rng.standard_normal((6, 192)) * scale).astype(np.float16)
    found = position_similarity(positions, (2, 3))
    assert found.dtype == np.float16
    assert np.allclose(found, position_similarity(positions.astype(np.float64), (2, 3)), atol=1e-3)
    assert filter_components(positions, (2, 3), 2)[0].dtype == np.float32


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: attention_distance(np.ones((1, 2, 1, 6)), (2, 3), (4, 4)), r"p \(1, 2, 1, 6\) needs the axes"),
        (lambda: attention_distance(np.ones((2, 6, 6)), (2, 3), (4, 4)), r"p \(2, 6, 6\) needs the axes"),
        (lambda: attention_distance(np.ones((1, 2, 8, 8)), (2, 3), (4, 4)), "8 tokens do not fit a grid of"),
        (lambda: filter_components(rng.random((12, 9)), (2, 2), 0), "count is 0; expected 1 to 9"),
        (lambda: position_similarity(np.ones(6), (2, 3)), r"positions \(6,\) need the axes"),
        (lambda: filter_components(np.eye(12), (5, 2), 2), r"12 numbers are no colours of patches of \(5, 2\)"),
        (lambda: filter_components(np.ones((12, 9)), (2, 2), 2), "the 9 filters are all equal"),
        (lambda: filter_components(np.repeat(rng.random((12, 1)), 9, 1), (2, 2), 2), "the 9 filters are all equal"),
    ],
)
def test_what_does_not_fit_is_one_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_maps_may_come_as_one_array_or_one_after_another():
    maps = random_maps()
    assert np.array_equal(attention_rollout(np.stack(maps)), attention_rollout(iter(maps)))


def test_float32_stays_float32():
    maps = [p.astype(np.float32) for p in random_maps(tokens=6)]
    assert attention_rollout(maps).dtype == np.float32
    assert rollout_images(maps, (2, 3)).dtype == np.float32
    assert attention_distance(maps[0], (2, 3), (4, 4)).dtype == np.float32
    assert position_similarity(rng.random((6, 4), np.float32), (2, 3)).dtype == np.float32
    assert filter_components(rng.random((12, 9), np.float32), (2, 2), 2)[0].dtype == np.float32


def test_rows_that_do_not_sum_to_1_are_made_to():
    """Of maps with dropout, say."""
    maps = [0.9 * p for p in random_maps()]
    assert np.allclose(attention_rollout(maps).sum(-1), 1.0)


def test_narrow_maps_give_narrow_results_of_wide_sums():
    maps = [p.astype(np.float16) for p in random_maps(tokens=7)]
    wide_maps = [p.astype(np.float64) for p in maps]
    for found, expected in (
        (attention_rollout(maps), attention_rollout(wide_maps)),
        (rollout_images(maps, (2, 3)), rollout_images(wide_maps, (2, 3))),
        (attention_distance(maps[0], (2, 3), (4, 5)), attention_distance(wide_maps[0], (2, 3), (4, 5))),
    ):
        assert found.dtype == np.float16
        assert np.allclose(found, expected, rtol=1e-3)


def test_small_positions_have_directions_too():
    positions = rng.standard_normal((6, 5))
    assert np.allclose(position_similarity(1e-8 * positions, (2, 3)), position_similarity(positions, (2, 3)))
