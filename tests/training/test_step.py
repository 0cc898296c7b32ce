"""One training step: what it learns from, and that parts add up to the whole."""

import tracemalloc

import numpy as np
import pytest

from minivit.functions import cross_entropy, cross_entropy_backward
from minivit.model import ViTConfig, init_params, named, vit, vit_backward
from minivit.randomness import Key
from minivit.training.settings import TrainSettings
from minivit.training.step import fresh_state, parts_of, train_step

CONFIG = ViTConfig(image_size=8, patch_size=4, width=12, depth=2, heads=2, classes=3)


def batch(count=7, dtype=np.float64):
    rng = np.random.default_rng(1)
    return rng.standard_normal((count, 3, 8, 8)).astype(dtype), rng.integers(0, 3, count)


def after(settings, steps=1, config=CONFIG, key=None):
    state = fresh_state(init_params(config, 3, np.float64), settings)
    results = [train_step(state, *batch(), config, settings, 0.01, key) for _ in range(steps)]
    return state, results


def test_plain_sgd_is_a_step_against_the_gradient():
    settings = TrainSettings(optimizer="sgd", momentum=0.0, weight_decay=0.0, clip=0.0)
    state, [result] = after(settings)
    params = init_params(CONFIG, 3, np.float64)
    images, labels = batch()
    logits, cache = vit(params, images, CONFIG)
    loss, loss_cache = cross_entropy(logits, labels)
    gradients = dict(named(vit_backward(cross_entropy_backward(1.0, loss_cache), cache)))
    assert result.loss == pytest.approx(float(loss), rel=1e-14)
    assert result.correct == (logits.argmax(1) == labels).sum()
    assert result.gradient_norm == pytest.approx(np.sqrt(sum((g**2).sum() for g in gradients.values())), rel=1e-12)
    for (name, p), (_, now) in zip(named(params), named(state.params.tree), strict=True):
        np.testing.assert_allclose(now, p - 0.01 * gradients[name], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("parts", [2, 3, 7])
def test_accumulation_equals_one_large_batch(parts):
    whole, [one] = after(TrainSettings())
    split, [many] = after(TrainSettings(accumulate=parts))  # 7 images: parts of unequal size
    assert many.loss == pytest.approx(one.loss, rel=1e-13)
    assert many.correct == one.correct
    error = np.linalg.norm(whole.gradient.buffer - split.gradient.buffer) / np.linalg.norm(whole.gradient.buffer)
    assert error <= 1e-13


@pytest.mark.parametrize(("images", "labels"), [(7, 3), (3, 7), (0, 0)])
def test_every_image_has_a_label(images, labels):
    state = fresh_state(init_params(CONFIG, 3), TrainSettings())
    given = batch()
    with pytest.raises(ValueError, match=f"{images} images and {labels} labels; expected one label for each image"):
        train_step(state, given[0][:images], given[1][:labels], CONFIG, TrainSettings(), 0.0)


def test_the_gradient_is_fresh_in_every_step():
    settings = TrainSettings(learning_rate=1e-9)
    state, _ = after(settings, steps=1)
    first = state.gradient.buffer.copy()
    train_step(state, *batch(), CONFIG, settings, 0.0)
    assert np.linalg.norm(state.gradient.buffer) < 1.5 * np.linalg.norm(first)


def test_clipping_bounds_the_gradient_that_is_used():
    state, [result] = after(TrainSettings(clip=1e-3))
    assert result.gradient_norm > 1e-3
    assert np.linalg.norm(state.gradient.buffer) == pytest.approx(1e-3)


def test_dropout_draws_anew_in_every_step_and_repeats_for_its_key_in_however_many_parts():
    config = CONFIG.replace(dropout=0.5)
    losses = {}
    for name, key, parts in [
        ("a", Key(0, "dropout", 1, 2), 1),
        ("again", Key(0, "dropout", 1, 2), 1),
        ("next step", Key(0, "dropout", 1, 3), 1),
        ("two parts", Key(0, "dropout", 1, 2), 2),
    ]:
        state = fresh_state(init_params(config, 3, np.float64), TrainSettings())
        state.params.tree.head_weight[...] = np.random.default_rng(4).standard_normal((12, 3))  # zero would hide masks
        losses[name] = train_step(state, *batch(), config, TrainSettings(accumulate=parts), 0.01, key).loss
    assert losses["a"] == losses["again"]
    assert losses["a"] == pytest.approx(losses["two parts"], rel=1e-14)
    assert losses["a"] != losses["next step"]


def test_label_smoothing_changes_the_loss():
    _, [plain] = after(TrainSettings())
    _, [same] = after(TrainSettings(label_smoothing=0.1))
    assert plain.loss == pytest.approx(same.loss)  # at the start all classes are equal
    later = [after(TrainSettings(label_smoothing=s), steps=3)[1][-1].loss for s in (0.0, 0.1)]
    assert later[0] != later[1]


def test_the_loss_falls_to_nearly_zero_on_eight_images():
    config = ViTConfig(image_size=8, patch_size=4, width=24, depth=2, heads=2, classes=4)
    settings = TrainSettings(weight_decay=0.0)
    state = fresh_state(init_params(config, 0), settings)
    rng = np.random.default_rng(0)
    images, labels = rng.standard_normal((8, 3, 8, 8)).astype(np.float32), np.arange(8) % 4
    for _ in range(80):
        result = train_step(state, images, labels, config, settings, 3e-3)
    assert result.loss < 0.02
    assert result.correct == 8


@pytest.mark.parametrize("ops", ["reference", "auto"])
def test_recomputing_needs_less_memory(ops):
    """Bit for bit it is the same, so that nothing else would show that it was done."""
    config = ViTConfig(image_size=16, patch_size=4, width=24, depth=8, heads=2, classes=3)
    images, labels = np.random.default_rng(0).standard_normal((16, 3, 16, 16)).astype(np.float32), np.arange(16) % 3
    peaks = {}
    for recompute in (False, True):
        settings = TrainSettings(ops=ops, recompute=recompute, threads=1)
        state = fresh_state(init_params(config, 3), settings)
        train_step(state, images, labels, config, settings, 0.01)  # what is loaded once
        tracemalloc.start()
        try:
            train_step(state, images, labels, config, settings, 0.01)
            peaks[recompute] = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peaks[True] < 0.5 * peaks[False], peaks


@pytest.mark.parametrize("ops", ["reference", "auto"])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_the_result_does_not_depend_on_the_number_of_threads(ops, dropout):
    """Bit for bit: 40 images are three parts whatever computes them, added in their order."""
    images, labels = batch(40, np.float32)
    buffers = []
    for threads in (1, 2, 3, 0):
        settings = TrainSettings(ops=ops, threads=threads)
        state = fresh_state(init_params(CONFIG, 3), settings)
        for step in range(3):
            result = train_step(
                state, images, labels, CONFIG.replace(dropout=dropout), settings, 0.01, Key(1, "dropout", 1, step)
            )
        buffers.append((state.params.buffer.tobytes(), result))
    assert all(other == buffers[0] for other in buffers[1:])


def test_parts_are_small_on_the_cpu_and_as_asked_for_elsewhere():
    assert [part.stop - part.start for part in parts_of(40, 1)] == [14, 13, 13]
    assert parts_of(16, 1) == [slice(0, 16)]
    assert len(parts_of(40, 10)) == 10
    assert len(parts_of(3, 10)) == 3
    assert parts_of(40, 1, "cuda") == [slice(0, 40)]
    assert len(parts_of(40, 4, "cuda")) == 4


def test_both_kinds_of_functions_learn_the_same():
    states = [after(TrainSettings(ops=ops), steps=4)[0].params.buffer for ops in ("reference", "auto")]
    assert np.linalg.norm(states[0] - states[1]) <= 1e-12 * np.linalg.norm(states[0])


def test_what_nobody_reads_changes_roundings_alone():
    one, other = (after(TrainSettings(skip_unread=skip), steps=4)[0].params.buffer for skip in (False, True))
    assert 0 < np.linalg.norm(one - other) <= 1e-12 * np.linalg.norm(one)


def test_recomputing_changes_no_bit():
    buffers = [after(TrainSettings(recompute=recompute), steps=3)[0].params.buffer for recompute in (False, True)]
    assert np.array_equal(*buffers)
