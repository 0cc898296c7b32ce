"""The loop around the steps: which images, at which rates, drawn at which addresses, and what is written of it."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest
from helpers.tiny_run import tiny_run

from minivit.data import Splits, channel_statistics, fingerprint, take
from minivit.errors import MinivitError
from minivit.model import flatten, init_params
from minivit.randomness import Key, generator
from minivit.training import host_steps, loop
from minivit.training.checkpoint import MODEL, load_params
from minivit.training.config import RunConfig
from minivit.training.evaluate import evaluate
from minivit.training.run_directory import read_metrics, write_metrics
from minivit.training.schedule import learning_rate
from minivit.training.settings import TrainSettings


class Seen(loop.HostSteps):
    """Steps that keep what they were asked for, and at which rates."""

    runs: list[Any]

    def __init__(self, state: Any, *rest: Any) -> None:
        super().__init__(state, *rest)
        self.first, self.rates, self.orders, self.norms = state.params.buffer.copy(), [], [], []
        self.runs.append(self)

    def begin(self, epoch: int, batches: Any) -> None:
        self.orders.append((epoch, np.concatenate(batches)))
        super().begin(epoch, batches)

    def step(self, i: int, rate: float) -> None:
        self.rates.append(rate)
        super().step(i, rate)
        self.norms.append(self.sums.norm)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The steps of every run of a test; each with the addresses of its moves."""
    runs: list[Any] = []
    monkeypatch.setattr(Seen, "runs", runs, raising=False)
    monkeypatch.setattr(loop, "HostSteps", Seen)
    move = host_steps.random_crop_and_flip

    def watched(images: Any, key: Key, *rest: Any) -> Any:
        runs[-1].keys = [*getattr(runs[-1], "keys", []), key]
        return move(images, key, *rest)

    monkeypatch.setattr(host_steps, "random_crop_and_flip", watched)
    return runs


def fitted(config: RunConfig, splits: Splits) -> tuple[RunConfig, Splits]:
    """With the statistics of the training images, as a run from the command has."""
    mean, std = channel_statistics(splits.train.images)
    return dataclasses.replace(config, inputs=dataclasses.replace(config.inputs, mean=mean, std=std)), splits


def table(run: Any) -> list[dict[str, str]]:
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_it_chooses_by_the_validation_images_and_ends_with_the_test_images(seen: Any, tmp_path: Any) -> None:
    config, splits = tiny_run(epochs=2)
    score = loop.train(config, splits, tmp_path)
    params, epoch = load_params(tmp_path / MODEL, config.model)
    assert epoch == 2
    losses = {
        name: evaluate(params, data, config.model, config.inputs).loss
        for name, data in zip(splits._fields[:3], splits[:3], strict=True)
    }
    assert float(table(tmp_path)[-1]["validation_loss"]) == pytest.approx(losses["validation"], rel=1e-6)
    assert score.loss == pytest.approx(losses["test"], rel=1e-6)
    assert abs(losses["test"] - losses["validation"]) > 1e-3


def test_order_moves_and_first_weights_are_those_of_their_addresses(seen: Any, tmp_path: Any) -> None:
    for seed in (5, 6):
        config, splits = tiny_run(epochs=2, seed=seed)
        loop.train(config, splits, tmp_path / str(seed))
        run = seen[-1]
        assert [epoch for epoch, _ in run.orders] == [1, 2]
        for epoch, order in run.orders:
            np.testing.assert_array_equal(order, generator(Key(seed, "shuffle", epoch)).permutation(12))
        assert run.keys == [Key(seed, "augment", epoch, step) for epoch in (1, 2) for step in range(3)]
        np.testing.assert_array_equal(run.first, flatten(init_params(config.model, seed)).buffer)
    one, other = seen
    assert not np.array_equal(one.first, other.first)
    assert not np.array_equal(one.orders[0][1], other.orders[0][1])
    assert not np.array_equal(one.orders[0][1], one.orders[1][1])


def test_rates_rise_over_the_warm_up_and_fall_to_the_last_one(seen: Any, tmp_path: Any) -> None:
    config, splits = tiny_run(epochs=4, warmup_epochs=1.0, learning_rate=0.01, final_learning_rate=0.002)
    loop.train(config, splits, tmp_path)
    assert seen[-1].rates == [learning_rate(step, 12, 3, 0.01, 0.002) for step in range(12)]
    assert seen[-1].rates[2] == 0.01
    assert 0.002 < seen[-1].rates[-1] < 0.0025
    rows = table(tmp_path)
    assert [float(row["learning_rate"]) for row in rows] == seen[-1].rates[2::3]
    norms = np.array(seen[-1].norms)[2::3] / 3  # sums of three steps
    np.testing.assert_allclose([float(row["gradient_norm"]) for row in rows], norms, rtol=1e-6)


def test_the_warm_up_is_half_of_the_run_at_most() -> None:
    config, splits = tiny_run(epochs=2, warmup_epochs=100.0, learning_rate=0.01)
    rates = loop.rates_of_run(config, splits)
    assert rates.index(max(rates)) == 2
    assert max(rates) == 0.01


@pytest.mark.parametrize(("epochs", "steps"), [(0.8, 2), (0.9, 3), (1.1, 3), (1.2, 4)])
def test_the_warm_up_takes_the_nearest_number_of_steps(epochs: float, steps: int) -> None:
    config, splits = tiny_run(epochs=4, warmup_epochs=epochs, learning_rate=0.01)
    rates = loop.rates_of_run(config, splits)
    assert rates[:steps] == pytest.approx([0.01 * (i + 1) / steps for i in range(steps)])
    assert max(rates[steps + 1 :]) < 0.01


def test_the_picture_shows_images_of_several_classes(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """A folder's images lie class by class."""
    config, splits = tiny_run()
    images = np.random.default_rng(0).integers(0, 256, (60, 3, 8, 8), np.uint8)
    test = splits.test._replace(images=images, labels=np.repeat(np.arange(3), 20))
    shown: list[Any] = []
    monkeypatch.setattr(loop, "save_predictions", lambda images, labels, *rest: shown.append(labels))
    loop.train(config, splits._replace(test=test), tmp_path)
    assert len(shown[0]) == 20
    assert np.bincount(shown[0], minlength=3).min() >= 6


def test_an_epoch_s_numbers_are_means_over_its_images(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Not over its steps, which here have 4, 4 and 3 images."""
    config, splits = tiny_run(epochs=2)
    results: list[Any] = []

    def kept(state: Any, images: Any, labels: Any, *rest: Any) -> Any:
        results.append((len(labels), train_step(state, images, labels, *rest)))
        return results[-1][1]

    train_step = host_steps.train_step
    monkeypatch.setattr(host_steps, "train_step", kept)
    loop.train(config, splits._replace(train=take(splits.train, np.arange(11))), tmp_path)
    assert [images for images, _ in results] == [4, 4, 3] * 2
    for row, steps in zip(table(tmp_path), (results[:3], results[3:]), strict=True):
        loss = sum(images * result.loss for images, result in steps) / 11
        assert float(row["train_loss"]) == pytest.approx(loss, rel=1e-12)
        assert float(row["train_accuracy"]) == pytest.approx(sum(result.correct for _, result in steps) / 11, rel=1e-12)
        assert float(row["gradient_norm"]) == pytest.approx(np.mean([r.gradient_norm for _, r in steps]), rel=1e-12)
    assert sum(result.correct for _, result in results) > 0


@pytest.mark.parametrize("spoiled", [1, 3])
def test_what_the_last_step_of_an_epoch_has_spoiled_is_not_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, spoiled: int
) -> None:
    """The loss of a step is that of the weights before it: only the validation shows what its update did."""
    config, splits = fitted(*tiny_run(epochs=3))
    rates = loop.rates_of_run(config, splits)
    rates[3 * spoiled - 1] = 1e38
    monkeypatch.setattr(loop, "rates_of_run", lambda *_: rates)
    with pytest.raises(
        MinivitError, match=f"the validation loss became (nan|inf) after epoch {spoiled}; the usual cure"
    ):
        loop.train(config, splits, tmp_path)
    assert not (tmp_path / "results.json").exists()
    if spoiled == 1:
        assert not (tmp_path / MODEL).exists()
        return
    _, epoch = load_params(tmp_path / MODEL, config.model)
    assert epoch == spoiled - 1
    assert len(table(tmp_path)) == spoiled - 1
    monkeypatch.undo()
    loop.train(config, splits, tmp_path, resume=True)
    assert json.loads((tmp_path / "results.json").read_text())["test_loss"] > 0


@pytest.mark.parametrize(("field", "name"), [("loss", "loss"), ("norm", "gradient's norm")])
def test_steps_that_are_no_numbers_end_the_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, field: str, name: str
) -> None:
    """Each of both alone, before the validation could tell."""
    read = loop.HostSteps.read
    monkeypatch.setattr(loop.HostSteps, "read", lambda self: read(self)._replace(**{field: math.inf}))
    with pytest.raises(MinivitError, match=f"the {name} became inf at epoch 1, step 1; the usual cure"):
        loop.train(*tiny_run(), tmp_path)
    assert not (tmp_path / MODEL).exists()


def test_a_test_loss_that_is_no_number_is_no_result(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    config, splits = tiny_run()

    def spoiled(params: Any, data: Any, *rest: Any) -> Any:
        score = evaluate(params, data, *rest)
        return score._replace(loss=math.nan) if data is splits.test else score

    monkeypatch.setattr(loop, "evaluate", spoiled)
    with pytest.raises(MinivitError, match="the test loss became nan at the end; the usual cure"):
        loop.train(config, splits, tmp_path)
    assert not (tmp_path / "results.json").exists()


@pytest.mark.parametrize(("name", "value"), [("loss", math.nan), ("gradient's norm", math.inf)])
def test_what_is_no_number_any_more_is_named(name: str, value: float) -> None:
    with pytest.raises(MinivitError, match=f"the {name} became {value} at epoch 1, step 2; the usual cure"):
        loop._demand_finite(name, value, "at epoch 1, step 2", TrainSettings())


def test_a_run_whose_metrics_lack_an_epoch_does_not_go_on(tmp_path: Any) -> None:
    config, splits = fitted(*tiny_run(epochs=2))
    loop.train(config, splits, tmp_path)
    write_metrics(tmp_path, read_metrics(tmp_path)[:1])
    with pytest.raises(MinivitError, match=r"metrics\.csv has 1 of 2 epochs; the run cannot be resumed without its"):
        loop.train(config, splits, tmp_path, resume=True)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("change", ["another", "one fewer and one more", "labels", "order"])
def test_a_run_goes_on_with_its_own_images_alone(tmp_path: Any, change: str, old: bool) -> None:
    """A run from before there was a fingerprint knows them by mean and deviation."""
    config, splits = fitted(*tiny_run(epochs=2))
    known = "" if old else fingerprint(splits.train)
    config = dataclasses.replace(config, inputs=dataclasses.replace(config.inputs, images=known))
    loop.train(dataclasses.replace(config, training=dataclasses.replace(config.training, epochs=1)), splits, tmp_path)
    images, labels = splits.train.images.copy(), splits.train.labels.copy()
    if change == "another":
        images[0] = 255 - images[0]
    elif change == "order":
        images, labels = images[::-1], labels[::-1]
    elif change == "labels":
        labels[0] = 1 - labels[0]
    else:
        images = np.concatenate([images[1:], splits.test.images[:1]])
    others: Splits = splits._replace(train=splits.train._replace(images=images, labels=labels))
    if old and change in ("labels", "order"):
        loop.train(config, others, tmp_path, resume=True)
        return
    with pytest.raises(MinivitError, match=r"the training images are not those that .* began with: (an image|mean)"):
        loop.train(config, others, tmp_path, resume=True)
    loop.train(config, splits, tmp_path, resume=True)
