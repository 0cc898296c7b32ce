"""Evaluation: every image counts once and equally, whatever the batches."""

import numpy as np
import pytest

from minivit.data import Dataset, normalise
from minivit.functions import cross_entropy, softmax
from minivit.model import ViTConfig, init_params, vit
from minivit.training.config import Inputs
from minivit.training.evaluate import How, as_trained, evaluate, logits_of, predict
from minivit.training.settings import TrainSettings

CONFIG = ViTConfig(image_size=8, patch_size=4, width=12, depth=1, heads=2, classes=3, dropout=0.5)
INPUTS = Inputs(("a", "b", "c"), (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))


@pytest.fixture
def model():
    params = init_params(CONFIG, 1, np.float64)
    params.head_weight[...] = np.random.default_rng(0).standard_normal(params.head_weight.shape)
    return params


def data(count=11):
    rng = np.random.default_rng(2)
    images = rng.integers(0, 256, (count, 3, 8, 8), dtype=np.uint8)
    return Dataset(images, rng.integers(0, 3, count), INPUTS.classes)


def test_loss_and_accuracy_are_those_of_all_images_at_once(model):
    d = data(300)  # three batches, the last one smaller
    logits, _ = vit(model, normalise(d.images, INPUTS.mean, INPUTS.std, np.float64), CONFIG)
    score = evaluate(model, d, CONFIG, INPUTS)
    assert score.loss == pytest.approx(float(cross_entropy(logits, d.labels)[0]), rel=1e-12)
    assert score.accuracy == (logits.argmax(1) == d.labels).mean()
    assert score.images == 300
    np.testing.assert_allclose(predict(model, d.images, CONFIG, INPUTS), softmax(logits)[0], rtol=1e-12)


def test_no_image_has_no_mean(model):
    with pytest.raises(ValueError, match="data holds no image"):
        evaluate(model, data(0), CONFIG, INPUTS)
    assert predict(model, data(0).images, CONFIG, INPUTS).shape == (0, 3)


def test_the_batch_size_changes_nothing_but_the_batches(model):
    images = data().images
    parts = list(logits_of(model, images, CONFIG, INPUTS, how=How(batch=4)))
    assert [len(part) for part in parts] == [4, 4, 3]
    [whole] = logits_of(model, images, CONFIG, INPUTS, how=How(batch=11))
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-12)


def test_on_a_gpu_no_more_images_at_once_than_in_a_step():
    settings = TrainSettings(batch_size=100, accumulate=3)
    assert as_trained(settings, "cuda").batch == 34
    assert as_trained(TrainSettings(batch_size=1024), "cuda").batch == 256
    assert as_trained(settings, "cpu").batch == 0


@pytest.mark.parametrize(("ops", "expected"), [("reference", "reference"), ("cuda", "auto"), ("auto", "auto")])
def test_a_model_is_evaluated_by_the_functions_that_it_was_trained_with(ops, expected):
    """Where the other device has them: the fused ones of a GPU are no functions of a CPU."""
    how = as_trained(TrainSettings(ops=ops, precision="tf32", threads=1), "cpu")
    assert (how.ops, how.precision, how.threads) == (expected, "tf32", 1)


def test_no_cache_is_kept_for_an_evaluation(monkeypatch):
    given = []

    def watched(*args, **how):
        given.append(how["recompute"])
        return vit(*args, **how)

    monkeypatch.setattr("minivit.training.evaluate.vit", watched)
    list(logits_of(init_params(CONFIG), data(3).images, CONFIG, INPUTS))
    assert given == [True]
