"""AdamW on the device against the readable one, where float32 has few digits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minivit.gradcheck import relative_error
from minivit.ops.cuda.update import AdamW
from minivit.training.optimizers import Moments, adamw
from minivit.training.settings import TrainSettings


@pytest.mark.parametrize("beta2", [0.999, 0.9999, 1 - 1e-8])
def test_a_long_memory_keeps_its_digits_in_float32(xp: Any, beta2: float) -> None:
    """1 - beta2 is 1e-8 there: of the float32 next to beta2 it would be 0, and the update divided by eps alone."""
    settings = TrainSettings(beta2=beta2, weight_decay=0.0, clip=0.0)
    gradient = np.random.default_rng(0).standard_normal(40).astype(np.float32)
    expected, moments = np.zeros(40), Moments(np.zeros(40), np.zeros(40))
    adamw(expected, gradient.astype(np.float64), moments, 1, 0.5, 0, settings)

    rates = xp.asarray(np.array([[0.5, 1 / (1 - settings.beta1), (1 - beta2) ** -0.5]], np.float32))
    step = xp.asarray(np.zeros(1, np.int64))
    update = AdamW(rates, step, settings.beta1, beta2, settings.adam_eps, 0.0, 0.0)
    found, first, second = (xp.zeros(40, dtype=np.float32) for _ in range(3))
    update(found, xp.asarray(gradient), first, second, None, 0)
    for mine, theirs in ((found, expected), (first, moments.first), (second, moments.second)):
        assert relative_error(mine.get(), theirs) < 1e-6
