"""Both sides of a measurement as they run on a GPU: minivit on the stand-in, PyTorch's autocast on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.device import xp as xp

from minivit.arrays import to_host
from minivit.bench.ours import ours
from minivit.bench.workload import Workload
from minivit.model import ViTConfig
from minivit.training.settings import TrainSettings

CONFIG = ViTConfig(image_size=8, patch_size=4, width=16, depth=1, heads=2, classes=5)


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("tf32", 1e-2), ("bfloat16", 1e-1)])
def test_ours_is_the_same_model_as_on_the_cpu(xp: Any, precision: str, tolerance: float) -> None:
    workload = Workload(CONFIG, 4, TrainSettings(precision=precision), "cuda")  # type: ignore[arg-type]
    side, host = ours(workload), ours(Workload(CONFIG, 4, TrainSettings()))
    logits, expected = to_host(side.forward()[0]).astype(np.float32), np.concatenate(host.forward())
    np.testing.assert_allclose(logits, expected, atol=tolerance * np.abs(expected).max())
    side.gradients()
    side.update()
    side.step()
    side.queue()
    assert not np.array_equal(to_host(side.forward()[0]), logits), "a step changes the model"


def test_theirs_computes_in_bfloat16_too() -> None:
    pytest.importorskip("torch")
    from minivit.bench.theirs import theirs

    exact = theirs(Workload(CONFIG, 4, TrainSettings()))
    rounded = theirs(Workload(CONFIG, 4, TrainSettings(precision="bfloat16")))
    expected = exact.forward()
    assert 1e-4 < np.abs(rounded.forward() - expected).max() / np.abs(expected).max() < 5e-2
    rounded.step()
