"""Attention: its probabilities, its symmetries, and many heads against a loop over single ones."""

import math

import numpy as np
import pytest
from helpers.cases import assert_close, random
from hypothesis import given
from hypothesis import strategies as st
from tolerances import COMPLEX_STEP, FORWARD, SAME_FORMULA, ZERO_ABSOLUTE

from minivit import gradcheck
from minivit.functions import attention, attention_backward, multi_head_attention, multi_head_attention_backward
from minivit.functions.attention import split_heads


def projections(seed, width):
    """qkv_weight, qkv_bias, out_weight, out_bias."""
    return (
        random(seed, width, 3 * width),
        random(seed + 1, 3 * width),
        random(seed + 2, width, width),
        random(seed + 3, width),
    )


def test_with_one_key_every_query_takes_its_value():
    q, k, v, dy = random(1, 2, 3, 4), random(2, 2, 1, 4), random(3, 2, 1, 5), random(4, 2, 3, 5)
    y, cache = attention(q, k, v)
    assert np.array_equal(y, np.broadcast_to(v, y.shape))
    dq, dk, dv = attention_backward(dy, cache)
    assert np.abs(dq).max() <= ZERO_ABSOLUTE
    assert np.abs(dk).max() <= ZERO_ABSOLUTE
    assert_close(dv, dy.sum(-2, keepdims=True), SAME_FORMULA)


def test_the_formula_of_the_paper_token_by_token():
    q, k, v = random(1, 3, 4), random(2, 5, 4), random(3, 5, 2)
    y, cache = attention(q, k, v)
    for i in range(3):
        e = np.exp([q[i] @ k[j] / math.sqrt(4) for j in range(5)])
        assert_close(cache.p[i], e / e.sum(), SAME_FORMULA)
        assert_close(y[i], sum(e[j] / e.sum() * v[j] for j in range(5)), SAME_FORMULA)


@given(st.integers(1, 3), st.integers(1, 9), st.sampled_from([1.0, 30.0]), st.integers(0, 99))
def test_each_row_of_probabilities_sums_to_1(batch, tokens, scale, seed):
    q, k = random(seed, batch, tokens, 4, scale=scale), random(seed + 1, batch, tokens, 4, scale=scale)
    p = attention(q, k, k)[1].p
    assert p.shape == (batch, tokens, tokens)
    assert np.all(p >= 0.0)
    assert np.abs(p.sum(-1) - 1.0).max() <= 1e-14


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_huge_scores_pick_one_token(dtype):
    """Scores of 1e4: the row's best key gets all; nothing overflows."""
    q, k = np.array([[100.0], [-100.0], [0.0]], dtype), np.array([[100.0], [-100.0], [0.0]], dtype)
    v = random(1, 3, 2).astype(dtype)
    y, cache = attention(q, k, v)
    assert_close(y, np.stack([v[0], v[1], v.astype(np.float64).mean(0)]), FORWARD[np.dtype(dtype)])
    assert all(np.isfinite(g).all() for g in attention_backward(np.ones_like(y), cache))


def test_self_attention_does_not_know_the_order_of_the_tokens():
    x, p = random(1, 2, 7, 6), projections(2, 6)
    order = np.random.default_rng(0).permutation(7)
    y, cache = multi_head_attention(x, *p, 3)
    moved, moved_cache = multi_head_attention(x[:, order], *p, 3)
    assert_close(moved, y[:, order], SAME_FORMULA)
    dy = random(9, 2, 7, 6)
    dx, *others = multi_head_attention_backward(dy, cache)
    moved_dx, *moved_others = multi_head_attention_backward(dy[:, order], moved_cache)
    assert_close(moved_dx, dx[:, order], 1e-13)
    for a, b in zip(moved_others, others, strict=True):
        assert_close(a, b, 1e-13)


@pytest.mark.parametrize("heads", [1, 2, 3, 6])
def test_heads_are_a_loop_over_single_ones(heads):
    """Head i reads columns i * D/K and on of the queries', keys' and values' thirds; out_weight mixes."""
    x, (w, b, out_w, out_b) = random(1, 3, 5, 6), projections(2, 6)
    y, cache = multi_head_attention(x, w, b, out_w, out_b, heads)
    each, maps = [], []
    for i in range(heads):
        columns = np.arange(i * 6 // heads, (i + 1) * 6 // heads)
        q, k, v = (x @ w[:, third * 6 + columns] + b[third * 6 + columns] for third in range(3))
        z, c = attention(q, k, v)
        each.append(z)
        maps.append(c.p)
    assert_close(y, np.concatenate(each, -1) @ out_w + out_b, SAME_FORMULA)
    assert_close(cache.attention.p, np.stack(maps, 1), SAME_FORMULA)


def test_one_head_with_identity_weights_is_plain_attention():
    x = random(1, 3, 5, 4)
    identity = np.eye(4)
    y, _ = multi_head_attention(x, np.concatenate([identity] * 3, 1), np.zeros(12), identity, np.zeros(4), 1)
    assert_close(y, attention(x, x, x)[0], SAME_FORMULA)


def test_the_key_bias_has_no_gradient():
    """It adds one number to a whole row of scores, which softmax does not see: zero up to roundings."""
    x, dy = random(1, 3, 5, 6), random(2, 3, 5, 6)
    w, b, out_w, out_b = (p * 0.4 for p in projections(3, 6))
    _, _, dbias, _, _ = multi_head_attention_backward(dy, multi_head_attention(x, w, b, out_w, out_b, 3)[1])
    assert np.abs(dbias[6:12]).max() <= ZERO_ABSOLUTE * np.abs(dbias).max()
    assert np.abs(dbias[:6]).min() > 1e-6
    assert np.abs(dbias[12:]).min() > 1e-6


def test_split_heads_copies_nothing():
    qkv = random(1, 2, 5, 18)
    parts = split_heads(qkv, 3)
    assert all(part.shape == (2, 3, 5, 2) and np.shares_memory(part, qkv) for part in parts)


def test_each_image_is_alone():
    """A batch is its images side by side: forward, and the gradient of x."""
    x, p, dy = random(1, 3, 5, 6), projections(2, 6), random(3, 3, 5, 6)
    y, cache = multi_head_attention(x, *p, 3)
    dx, *sums = multi_head_attention_backward(dy, cache)
    total = [np.zeros_like(g) for g in sums]
    for i in range(3):
        y_i, cache_i = multi_head_attention(x[i : i + 1], *p, 3)
        dx_i, *parts = multi_head_attention_backward(dy[i : i + 1], cache_i)
        assert_close(y_i[0], y[i], SAME_FORMULA)
        assert_close(dx_i[0], dx[i], 1e-13)
        total = [a + b for a, b in zip(total, parts, strict=True)]
    for a, b in zip(sums, total, strict=True):
        assert gradcheck.relative_error(a, b) <= COMPLEX_STEP


@pytest.mark.parametrize(
    ("q", "k", "v"),
    [
        ((2, 5, 4), (2, 5, 3), (2, 5, 3)),
        ((2, 5, 4), (2, 6, 4), (2, 5, 4)),
        ((5, 4), (4,), (4,)),
        ((2, 5, 4), (5, 4), (5, 4)),  # they would broadcast, and the gradients of k and v would not fit
        ((1, 5, 4), (2, 5, 4), (2, 5, 4)),
    ],
)
def test_shapes_that_do_not_fit_are_named(q, k, v):
    with pytest.raises(
        ValueError, match=r"^attention: q .* need one width of q and k .* one number of tokens"
    ) as error:
        attention(np.zeros(q), np.zeros(k), np.zeros(v))
    assert all(str(shape) in str(error.value) for shape in (q, k, v))


@pytest.mark.parametrize(
    ("x", "heads", "qkv"),
    [((2, 5, 6), 4, (6, 18)), ((5, 6), 3, (6, 18)), ((2, 5, 6), 3, (6, 12)), ((2, 5, 6), 0, (6, 18))],
)
def test_heads_that_do_not_divide_the_width_are_named(x, heads, qkv):
    with pytest.raises(ValueError, match=r"^multi_head_attention: x .* divisible by \d heads") as error:
        multi_head_attention(np.zeros(x), np.zeros(qkv), np.zeros(qkv[1]), np.zeros((6, 6)), np.zeros(6), heads)
    assert all(word in str(error.value) for word in (str(x), str(heads), str(qkv)))
