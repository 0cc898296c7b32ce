"""Both sides of a measurement as they run on a GPU: minivit on the stand-in, PyTorch's autocast on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import software_gpu
from helpers.device import xp as xp

from minivit.arrays import to_host
from minivit.bench import pieces_on_gpu
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


@pytest.mark.gpu
@pytest.mark.parametrize("graph", ["off", "auto"])
def test_a_run_that_is_measured_ends_with_the_gpus_work(graph: Any) -> None:
    """Recorded steps have a stream of their own, beside which the passes alone are queued."""
    if not software_gpu.started():
        pytest.skip("only the software GPU tells what is not done yet: pytest -m gpu --software-gpu")
    side = ours(Workload(CONFIG, 4, TrainSettings(graph=graph), "cuda"))
    for run in (side.forward, side.gradients, side.update, side.step, side.step, side.forward):
        run()
        assert software_gpu.idle(), run
    side.queue()
    assert not software_gpu.idle()


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_pieces_are_those_of_a_step(xp: Any, precision: str, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(pieces_on_gpu, "_SIZE", 8)
    monkeypatch.setattr(pieces_on_gpu, "_RUNS", 1)
    workload = Workload(CONFIG.replace(heads=1), 2, TrainSettings(precision=precision), "cuda")  # type: ignore[arg-type]
    found = pieces_on_gpu.measure_pieces(workload)
    assert all(x["seconds"] > 0 and x["gb_per_s"] > 0 for x in found.values())
    tiles = precision != "float32"
    assert ("attention in tiles" in found) == tiles
    assert found["attention by products, backward"]["times"] == (0 if tiles else 1)
    assert found["layer norm"]["times"] == 1
    assert found["MLP, backward"]["times"] == 0
    embedding = {"class token", "class token, backward", "positions", "positions, backward"}
    assert embedding <= set(found)
    # Two images of five tokens, or four patches, by 16 numbers, read and written.
    itemsize = 2 if precision == "bfloat16" else 4
    for name, numbers in (("class token", 2 * 9 * 16), ("positions", 2 * 10 * 16), ("positions, backward", 10 * 16)):
        moved = 1e9 * found[name]["gb_per_s"] * found[name]["seconds"]
        assert moved == pytest.approx(itemsize * numbers), name
    bare = workload.config.replace(pooling="mean", positions="none")
    assert not embedding & set(pieces_on_gpu.measure_pieces(workload._replace(config=bare)))
    settings = TrainSettings(precision=precision, skip_unread=False)  # type: ignore[arg-type]
    found = pieces_on_gpu.measure_pieces(workload._replace(settings=settings))
    assert found["layer norm"]["times"] == 2
    assert found["MLP, backward"]["times"] == found["final layer norm, backward"]["times"] == 1


def test_theirs_computes_in_bfloat16_too() -> None:
    pytest.importorskip("torch")
    from minivit.bench.theirs import theirs

    exact = theirs(Workload(CONFIG, 4, TrainSettings()))
    rounded = theirs(Workload(CONFIG, 4, TrainSettings(precision="bfloat16")))
    expected = exact.forward().numpy()
    assert 1e-4 < np.abs(rounded.forward().float().numpy() - expected).max() / np.abs(expected).max() < 5e-2
    rounded.step()
