"""The estimate of a step's memory, and what is said when there is too little."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from helpers import software_gpu, stand_in
from helpers.device import provided
from helpers.tiny_run import tiny_run

from minivit.arrays import to_host
from minivit.errors import MinivitError
from minivit.model import init_params, vit
from minivit.ops import choose_ops
from minivit.ops.cuda.products import exact_products
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


MODEL = {"image_size": (16, 16), "patch_size": 4, "width": 32, "heads": 2, "mlp_width": 64, "precision": "float32"}


def an_image_more(**choices: Any) -> int:
    """The estimated bytes of an image."""
    return (estimate(**choices, batch_size=24) - estimate(**choices, batch_size=8)) // 16


KEPT: dict[str, dict[str, Any]] = {
    "tokens": {},
    "the scores of 17 tokens": {"heads": 8, "pooling": "class_token", "mlp_width": 16},
    "the MLP": {"mlp_width": 256},
    "recomputed": {"recompute": True},
    "in tiles": {"precision": "tf32"},
}


@pytest.mark.parametrize("choices", KEPT.values(), ids=list(KEPT))
def test_a_block_keeps_what_is_counted(monkeypatch: pytest.MonkeyPatch, choices: dict[str, Any]) -> None:
    """Found in the cache of a forward pass: little less than what is counted, and never more."""
    xp = provided("stand-in", monkeypatch)
    choices = {**MODEL, "pooling": "mean", "skip_unread": False, **choices}
    counted = an_image_more(**choices, depth=3) - an_image_more(**choices, depth=2)
    config, _ = tiny_run(**choices, depth=2)
    params = init_params(config.model, device="cuda")
    x, settings = xp.asarray(np.zeros((2, 3, 16, 16), np.float32)), config.training
    with exact_products(settings.precision == "float32"):
        _, cache = vit(params, x, config.model, ops=choose_ops("auto", "cuda"), recompute=settings.recompute)
    first, second = (dict(owners(block)) for block in cache.blocks)
    known = {*first, *dict(owners(params))}
    found = sum(x.nbytes for at, x in second.items() if at not in known) / 2
    assert 0.9 * counted < found <= counted


def owners(tree: Any) -> Iterator[tuple[int, np.ndarray]]:
    """The memory behind the stand-in's arrays in `tree`."""
    if isinstance(tree, tuple):
        for branch in tree:
            yield from owners(branch)
    elif isinstance(tree, stand_in.ndarray):
        x = tree._array
        while isinstance(x.base, np.ndarray):
            x = x.base
        yield id(x), x


@pytest.mark.parametrize("choices", [{"optimizer": "adamw"}, {"optimizer": "sgd"}, {"precision": "bfloat16"}])
def test_parameters_and_what_goes_with_them_are_counted(
    monkeypatch: pytest.MonkeyPatch, choices: dict[str, Any]
) -> None:
    """However few images: weights, moments, the gradient twice, and the copy that products read."""
    provided("stand-in", monkeypatch)
    config, splits = tiny_run(**{**MODEL, **choices})
    state = fresh_state(init_params(config.model, device="cuda"), config.training)
    steps = DeviceSteps(state, config, splits, [1e-3])
    held = [
        state.params.buffer,
        state.gradient.buffer,
        *steps.gradient_views,
        *(x for x in state.moments if x is not None),
    ]
    held += [] if steps.weights is state.params else [steps.weights.buffer]
    counted = 2 * estimate(**{**MODEL, **choices}, batch_size=1) - estimate(**{**MODEL, **choices}, batch_size=2)
    assert counted == pytest.approx(sum(x.nbytes for x in held), rel=0.02)


@pytest.mark.parametrize("choices", [{"depth": 3, "recompute": True}, {"depth": 1, "pooling": "class_token"}])
def test_an_image_needs_no_more_than_is_counted(monkeypatch: pytest.MonkeyPatch, choices: dict[str, Any]) -> None:
    """Measured at the peak of a step, where what is kept and a block's gradients meet."""
    provided("stand-in", monkeypatch)  # its memory is NumPy's, which can be traced
    peaks = []
    for images in (2, 6):
        config, splits = tiny_run(**MODEL, **choices, batch_size=images)
        pictures = np.zeros((images, 3, 16, 16), np.uint8)
        train = splits.train._replace(images=pictures, labels=np.arange(images) % 3)
        state = fresh_state(init_params(config.model, device="cuda"), config.training)
        steps = DeviceSteps(state, config, splits._replace(train=train), [1e-3] * 2)
        steps.begin(1, [np.arange(images)] * 2)
        steps.step(0, 1e-3)  # what is loaded once
        tracemalloc.start()
        try:
            steps.step(1, 1e-3)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert (peaks[1] - peaks[0]) / 4 < 1.1 * an_image_more(**MODEL, **choices)


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
