"""The estimate of a step's memory, and what is said when there is too little."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import software_gpu
from helpers.tiny_run import tiny_run

from minivit.arrays import to_host
from minivit.errors import MinivitError
from minivit.model import init_params
from minivit.training.device_steps import DeviceSteps
from minivit.training.loop import train
from minivit.training.memory import estimated_bytes, out_of_memory
from minivit.training.step import fresh_state


def estimate(**choices: Any) -> int:
    config, _ = tiny_run(**choices)
    return estimated_bytes(config.model, config.training)


def test_what_needs_less() -> None:
    usual = estimate(batch_size=512, depth=8)
    for choices in ({"accumulate": 4}, {"recompute": True}, {"precision": "bfloat16"}, {"batch_size": 256}):
        assert estimate(**{"batch_size": 512, "depth": 8, **choices}) < 0.75 * usual, choices
    assert estimate(optimizer="sgd") < estimate()


def test_what_is_kept() -> None:
    config, _ = tiny_run(batch_size=512, depth=8, pooling="class_token")
    usual = estimated_bytes(config.model, config.training)
    assert estimate(batch_size=512, depth=8, pooling="class_token", skip_unread=False) > 1.05 * usual
    for ops, share in (("auto", 1 / 8), ("reference", 1)):  # of a byte a number that a mask is drawn for
        dropped, whole = (estimate(batch_size=512, depth=8, ops=ops, dropout=rate) for rate in (0.1, 0.0))
        model = config.model
        numbers = 512 * 8 * model.tokens * (2 * model.width + model.mlp_width)
        assert abs(dropped - whole - share * numbers) < 512


def test_a_step_that_could_not_be_smaller() -> None:
    config, _ = tiny_run(batch_size=1, recompute=True, precision="bfloat16")
    assert out_of_memory(config.model, config.training, "no room").endswith("need less with a smaller model")


def test_out_of_memory_is_one_sentence_with_numbers(xp: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    class OutOfMemoryError(MemoryError):
        pass

    def fail(*_: Any, **__: Any) -> None:
        raise OutOfMemoryError("Out of memory allocating 1,024 bytes")

    config, splits = tiny_run(batch_size=8)
    for where in ("minivit.training.loop.init_params", "minivit.training.device_steps.DeviceSteps.step"):
        with monkeypatch.context() as patch:
            patch.setattr(where, fail)
            with pytest.raises(MinivitError) as caught:
                train(config, splits, tmp_path / where, "cuda")
        said = str(caught.value)
        assert said.startswith("the GPU's memory does not suffice: Out of memory allocating 1,024 bytes; 8 images at")
        assert "; 8 images at once need about" in said
        assert said.endswith("need less with --accumulate 2 or --batch-size 4 or --recompute or --precision bfloat16")


@pytest.mark.gpu
@pytest.mark.parametrize("graph", ["off", "auto"])
def test_wherever_memory_ends_it_is_one_sentence(graph: Any, tmp_path: Any) -> None:
    """CuPy's own error, from the first parameter to the last step; with enough of it the run ends well."""
    if not software_gpu.started():
        pytest.skip("a GPU's memory is not filled here, the software GPU's is: pytest -m gpu --software-gpu")
    config, splits = tiny_run(batch_size=8, graph=graph, dropout=0.1)
    ended = []
    # A recording begins beyond cuBLAS's workspace: there memory ends while steps are recorded, and they go on without.
    recording = range(2**25 + 150_000, 2**25 + 350_000, 20_000) if graph == "auto" else ()
    for size in (1_000, 30_000, 100_000, 150_000, *recording, 2**26):
        with software_gpu.leaves(size):
            try:
                train(config, splits, tmp_path / str(size), "cuda")
                ended.append("well")
            except MinivitError as error:
                ended.append(str(error))
    assert ended[-1] == "well"
    told = [x for x in ended if "Out of memory allocating" in x and "8 images at once need about" in x]
    assert len(told) >= 3
    assert len(told) + ended.count("well") == len(ended), ended


@pytest.mark.gpu
def test_the_images_need_no_page_locked_memory() -> None:
    if not software_gpu.started():
        pytest.skip("only the software GPU tells how much is page-locked: pytest -m gpu --software-gpu")
    config, splits = tiny_run()
    images = np.random.default_rng(0).integers(0, 256, (2**13, *splits.train.images.shape[1:]), np.uint8)
    before = software_gpu.page_locked()
    many = splits.train._replace(images=images, labels=np.resize(splits.train.labels, len(images)))
    state = fresh_state(init_params(config.model, device="cuda"), config.training)
    steps = DeviceSteps(state, config, splits._replace(train=many), [1e-3])
    assert software_gpu.page_locked() - before < images.nbytes / 2
    assert np.array_equal(to_host(steps.pictures), images)


def test_other_errors_are_not_hidden(xp: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("something else")

    monkeypatch.setattr(DeviceSteps, "step", fail)
    config, splits = tiny_run()
    with pytest.raises(RuntimeError, match="something else"):
        train(config, splits, tmp_path / "run", "cuda")
