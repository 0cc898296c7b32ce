"""The learning rate: its line, its cosine, and where they meet."""

import itertools
import math

import pytest

from minivit.training.schedule import learning_rate


def test_rises_in_equal_steps_and_reaches_the_peak():
    rates = [learning_rate(step, 100, 10, 0.5) for step in range(11)]
    assert rates[:10] == pytest.approx([0.05 * (i + 1) for i in range(10)])
    assert rates[9] == rates[10] == 0.5


def test_falls_as_half_a_cosine_to_the_floor():
    assert learning_rate(55, 100, 10, 1.0, 0.2) == pytest.approx(0.6)
    assert learning_rate(100, 100, 10, 1.0, 0.2) == pytest.approx(0.2)
    last = learning_rate(99, 100, 0, 1.0)
    assert last == pytest.approx(0.5 * (1 + math.cos(math.pi * 0.99)))


def test_no_warm_up_starts_at_the_peak_and_never_rises():
    rates = [learning_rate(step, 50, 0, 1.0) for step in range(50)]
    assert rates[0] == 1.0
    assert all(a > b for a, b in itertools.pairwise(rates))
