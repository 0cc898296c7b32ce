"""Cross-entropy: labels, soft targets, smoothing, and logits that overflow an exponential."""

import math

import numpy as np
import pytest
from helpers.cases import assert_close, assert_right, random
from hypothesis import given
from hypothesis import strategies as st
from tolerances import FORWARD, SAME_FORMULA

from minivit.functions import cross_entropy, cross_entropy_backward


def labels_of(seed, batch, classes):
    return np.random.default_rng(seed).integers(0, classes, batch)


@given(st.integers(1, 6), st.integers(2, 9), st.sampled_from([0.0, 0.1]), st.integers(0, 99))
def test_gradients_for_soft_targets_of_any_sum(batch, classes, smoothing, seed):
    """Only the logits are learned: the targets ride along as constants."""
    targets = np.random.default_rng(seed).random((batch, classes)) * 3

    def with_targets(logits):
        return cross_entropy(logits, targets, smoothing)

    assert_right(with_targets, cross_entropy_backward, random(seed, batch, classes), seed=seed)


def test_the_definition_row_by_row():
    logits, labels = random(1, 5, 7, scale=2.0), labels_of(2, 5, 7)
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    expected = -np.mean([math.log(p[i, c]) for i, c in enumerate(labels)])
    loss, cache = cross_entropy(logits, labels)
    assert_close(loss, expected, SAME_FORMULA)
    assert_close(cache.p, p, SAME_FORMULA)
    assert loss.shape == ()


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_uniform_logits_cost_log_c(classes):
    loss, cache = cross_entropy(np.full((3, classes), 4.2), np.zeros(3, np.int64))
    assert loss == pytest.approx(math.log(classes), rel=1e-14)
    dlogits = cross_entropy_backward(1.0, cache)
    assert dlogits[0, 0] == pytest.approx((1 / classes - 1) / 3, rel=1e-14)
    assert dlogits[0, 1] == pytest.approx(1 / classes / 3, rel=1e-14)


def test_one_class_costs_nothing():
    loss, cache = cross_entropy(random(1, 3, 1), np.zeros(3, np.int64))
    assert loss == 0.0
    assert np.all(cross_entropy_backward(1.0, cache) == 0.0)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_smoothing_is_a_soft_target(smoothing):
    logits, labels = random(1, 5, 7), labels_of(2, 5, 7)
    soft = np.eye(7)[labels] * (1 - smoothing) + smoothing / 7
    loss, cache = cross_entropy(logits, labels, smoothing)
    soft_loss, soft_cache = cross_entropy(logits, soft)
    assert_close(loss, soft_loss, SAME_FORMULA)
    assert_close(cross_entropy_backward(1.0, cache), cross_entropy_backward(1.0, soft_cache), SAME_FORMULA)


def test_targets_are_linear_in_the_loss():
    """Mixup: the loss of a mixed target is the mixture of the losses. Sums other than 1 count as they are."""
    logits, a, b = random(1, 5, 7), labels_of(2, 5, 7), labels_of(3, 5, 7)
    mixed = 0.3 * np.eye(7)[a] + 0.7 * np.eye(7)[b]
    expected = 0.3 * cross_entropy(logits, a)[0] + 0.7 * cross_entropy(logits, b)[0]
    assert_close(cross_entropy(logits, mixed)[0], expected, SAME_FORMULA)
    assert_close(cross_entropy(logits, 3.0 * mixed)[0], 3.0 * expected, SAME_FORMULA)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_extreme_logits_are_finite_and_right(dtype):
    logits = np.array([[1e4, 0, -1e4], [-1e4, -1e4, 1e4], [1e4, 1e4, 1e4], [65504.0, 0, 0]], dtype)
    loss, cache = cross_entropy(logits, np.array([0, 0, 1, 0]))
    # Row 2 is wrong by 20000; row 3 is a tie; the others are certain and right.
    top = float(logits[0, 0]) * 2
    assert_close(loss, (top + math.log(3)) / 4, FORWARD[np.dtype(loss.dtype)])
    dlogits = cross_entropy_backward(1.0, cache)
    expected = np.array([[0, 0, 0], [-1, 0, 1], [1 / 3, -2 / 3, 1 / 3], [0, 0, 0]]) / 4
    assert_close(dlogits, expected, FORWARD[np.dtype(dtype)])


def test_dloss_scales_the_gradient():
    """A loss scale, as mixed precision uses, or the 0-d array that another function handed back."""
    cache = cross_entropy(random(1, 5, 7).astype(np.float32), labels_of(2, 5, 7))[1]
    one = cross_entropy_backward(1.0, cache)
    for scale in (1024.0, np.float32(1024.0), np.float64(1024.0), np.asarray(1024.0)):
        scaled = cross_entropy_backward(scale, cache)
        assert scaled.dtype == np.float32
        assert_close(scaled, one * 1024, FORWARD[np.dtype(np.float32)])


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.int64, np.uint64])
def test_labels_of_every_integer_type(dtype):
    logits = random(1, 5, 7)
    labels = labels_of(2, 5, 7)
    assert np.array_equal(cross_entropy(logits, labels.astype(dtype))[0], cross_entropy(logits, labels)[0])


def test_labels_in_one_byte_with_more_classes_than_a_byte_counts():
    """CIFAR labels come as uint8; a head of 1000 classes must not meet label 3 again at 259."""
    logits, labels = random(1, 5, 1000), labels_of(2, 5, 200)
    assert np.array_equal(cross_entropy(logits, labels.astype(np.uint8))[0], cross_entropy(logits, labels)[0])


@pytest.mark.parametrize(("logits", "targets"), [((5, 7), (4,)), ((5, 7), (5, 6)), ((7,), ()), ((2, 5, 7), (2, 5))])
def test_shapes_that_do_not_fit_are_named(logits, targets):
    with pytest.raises(ValueError, match=r"^cross_entropy: logits .* need the axes \(B, C\) and targets") as error:
        cross_entropy(np.zeros(logits), np.zeros(targets, np.int64))
    assert str(logits) in str(error.value)
    assert str(targets) in str(error.value)


@pytest.mark.parametrize("labels", [[0, 7, 1], [0, -1, 1]])
def test_a_label_that_no_class_has_is_named(labels):
    with pytest.raises(ValueError, match=rf"labels from {min(labels)} to {max(labels)} do not fit 7 classes"):
        cross_entropy(np.zeros((3, 7)), np.array(labels))


def test_labels_of_a_float_type_are_refused():
    with pytest.raises(ValueError, match=r"labels .* need an integer type, got float64"):
        cross_entropy(np.zeros((3, 7)), np.zeros(3))


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, math.nan])
def test_smoothing_outside_its_range_is_named(smoothing):
    with pytest.raises(ValueError, match=rf"^cross_entropy: smoothing {smoothing} is not in \[0, 1\)$"):
        cross_entropy(np.zeros((3, 7)), np.zeros(3, np.int64), smoothing)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_logit_of_minus_infinity_rules_its_class_out(dtype):
    """As if the class were not there, where its target is 0; no loss is large enough where it is not."""
    logits = np.array([[1.0, -np.inf, 2.0], [0.5, -np.inf, -1.0]], dtype)
    loss, cache = cross_entropy(logits, np.array([0, 2]))
    without, small = cross_entropy(logits[:, [0, 2]], np.array([0, 1]))
    assert loss == without
    assert loss.dtype == without.dtype
    dlogits = cross_entropy_backward(1.0, cache)
    assert np.array_equal(dlogits[:, [0, 2]], cross_entropy_backward(1.0, small))
    assert np.all(dlogits[:, 1] == 0)
    assert cross_entropy(logits, np.array([0, 1]))[0] == cross_entropy(logits, np.array([0, 2]), 0.1)[0] == np.inf
