"""What is measured is what it says: the operations, the same model on both sides, ratios of runs in turns."""

import time

import numpy as np
import pytest

from minivit.bench.floor import _products_for, floor_run
from minivit.bench.memory import peak_megabytes
from minivit.bench.ours import ours
from minivit.bench.theirs import theirs
from minivit.bench.timing import keep_busy, median_ratio, median_seconds, seconds_of
from minivit.bench.workload import Workload, products, step_operations
from minivit.errors import MinivitError
from minivit.model import ViTConfig, count_params, named, variant
from minivit.training.settings import TrainSettings

CONFIG = ViTConfig(image_size=16, patch_size=4, width=24, depth=2, heads=3, classes=5)
SMALL = Workload(CONFIG, 20, TrainSettings())


def test_operations_of_the_paper_s_smallest_model():
    """Ti/16 at 224 pixels: 1.3 GFLOP a picture is 1.3e9 multiply-adds (DeiT, table 1)."""
    config = variant("Ti/16")
    forward = step_operations(Workload(config.replace(pooling="mean"), 1, TrainSettings())) / 3
    assert forward == pytest.approx(2 * 1.25e9, rel=0.03)


def test_what_nobody_reads_is_not_counted():
    """With a class token the others end at the last block's attention: no scores, sums, projection, MLP of theirs."""
    t, d, f, all_read = CONFIG.tokens, CONFIG.width, CONFIG.mlp_width, CONFIG.replace(pooling="mean")
    assert (all_read.tokens, t) == (16, 17)
    of_a_token = CONFIG.depth * (4 * d * d + 2 * d * f)
    scores = CONFIG.depth * 2 * d * (t**2 - (t - 1) ** 2)
    unread = (t - 1) * (2 * t * d + d * d + 2 * d * f)
    with_token, without = (step_operations(SMALL._replace(config=c)) for c in (CONFIG, all_read))
    assert with_token - without == 3 * 2.0 * SMALL.batch * (of_a_token + scores - unread)
    on_gpu = step_operations(SMALL._replace(device="cuda"))  # where attention is computed for all tokens
    assert on_gpu - with_token == 3 * 2.0 * SMALL.batch * (t - 1) * 2 * t * d
    whole = step_operations(SMALL._replace(settings=TrainSettings(skip_unread=False)))
    assert whole - without == 3 * 2.0 * SMALL.batch * (of_a_token + scores)


def test_operations_grow_with_batch_and_depth():
    assert step_operations(SMALL._replace(batch=40)) == 2 * step_operations(SMALL)
    mean = CONFIG.replace(pooling="mean")  # with a class token, the last block takes less than the others
    deeper = step_operations(SMALL._replace(config=mean.replace(depth=4)))
    deeper /= step_operations(SMALL._replace(config=mean))
    assert 1.8 < deeper < 2.0


def test_the_floor_multiplies_what_a_step_does():
    """As many multiplications as the operations counted, forward and twice on the way back."""
    groups = _products_for(SMALL, SMALL.batch)
    counted = sum(times * 2.0 * np.prod(a.shape) * b.shape[-1] for times, three in groups for a, b, _ in three)
    assert counted == step_operations(SMALL)
    assert len(groups) == len(products(SMALL))
    assert all(out.shape == (a @ b).shape for _, three in groups for a, b, out in three)
    assert 0.0 < seconds_of(floor_run(SMALL)) < 5.0


def test_each_side_runs_and_ours_learns():
    side = ours(SMALL)
    logits = np.concatenate(side.forward())
    assert logits.shape == (20, 5)
    side.gradients()
    side.step()
    assert not np.array_equal(np.concatenate(side.forward()), logits), "a step changes the model"


@pytest.mark.parametrize("pooling", ["class_token", "mean"])
@pytest.mark.parametrize("gelu", ["tanh", "erf"])
def test_both_sides_are_the_same_model(pooling, gelu):
    pytest.importorskip("torch")
    workload = SMALL._replace(config=CONFIG.replace(pooling=pooling, gelu=gelu))
    one, other = ours(workload), theirs(workload)
    for _ in range(2):  # as they start, and after a step
        np.testing.assert_allclose(np.concatenate(one.forward()), other.forward().numpy(), atol=2e-4)
        one.step()
        other.step()


def test_pytorch_gets_the_attention_that_is_fastest(monkeypatch):
    """Of those that this machine has: on a CPU flash attention alone."""
    torch = pytest.importorskip("torch")
    from torch.nn.attention import SDPBackend

    from minivit.bench import torch_attention

    fastest_attention = torch_attention.fastest_attention.__wrapped__  # not what was found before
    assert fastest_attention(SMALL) is SDPBackend.FLASH_ATTENTION
    seconds = iter([3.0, 1.0, 2.0])  # as if it had all three
    monkeypatch.setattr(torch_attention, "median_seconds", lambda *_: next(seconds))
    assert fastest_attention(SMALL) is SDPBackend.CUDNN_ATTENTION

    def none(*_):
        raise RuntimeError("no available kernel")

    monkeypatch.setattr(torch_attention, "median_seconds", none)
    assert fastest_attention(SMALL) is None
    with torch_attention.by(SDPBackend.FLASH_ATTENTION):
        assert not torch.backends.cuda.math_sdp_enabled()
    with torch_attention.by(None):
        assert torch.backends.cuda.math_sdp_enabled()


def test_a_gpu_that_has_rested_is_woken():
    started, calls = time.perf_counter(), []
    keep_busy(lambda: calls.append(1), 0.02)
    assert time.perf_counter() - started >= 0.02
    assert calls


def test_medians_and_ratios():
    ratio = median_ratio(lambda: time.sleep(0.04), lambda: time.sleep(0.02), 5)
    assert ratio[0] > ratio[1]
    assert 1.3 < ratio[2] < 2.5
    assert seconds_of(lambda: time.sleep(0.003)) >= 0.003
    calls = []
    median_seconds(lambda: calls.append(1), 4)
    assert len(calls) == 6, "two runs that are not counted: a graph is recorded in the second"
    turns = []
    median_ratio(lambda: turns.append("a"), lambda: turns.append("b"), 3)
    assert "".join(turns) == "aabb" + "ab" + "ba" + "ab"


def test_files_that_lie_about_are_not_taken_for_python_s_own(tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise SystemExit('mine')")
    monkeypatch.chdir(tmp_path)
    assert peak_megabytes(SMALL, "minivit") > 0.0


def test_memory_grows_with_what_is_kept():
    wide = Workload(ViTConfig(width=192, depth=6, heads=3), 64, TrainSettings())
    kept, again = (peak_megabytes(wide._replace(settings=TrainSettings(recompute=r)), "minivit") for r in (False, True))
    assert 20.0 < again < kept < 1000.0


def test_sincos_positions_are_the_same_model_too():
    pytest.importorskip("torch")
    workload = SMALL._replace(config=CONFIG.replace(positions="sincos"))
    logits = np.concatenate(ours(workload).forward())
    assert np.abs(theirs(workload).forward().numpy() - logits).max() < 1e-4 * np.abs(logits).max()


def test_the_same_parameters_decay():
    """Weight matrices, and neither the class token nor the positions."""
    pytest.importorskip("torch")
    from minivit.bench.theirs import _adamw
    from minivit.bench.torch_model import TorchViT
    from minivit.model import flatten

    settings = TrainSettings(weight_decay=0.3, adam_eps=1e-5)
    decayed, others = _adamw(TorchViT(SMALL.config, SMALL.params()), settings).param_groups
    params = SMALL.params()
    weights = [x.size for name, x in named(params) if name.endswith("_weight")]
    assert sum(p.numel() for p in decayed["params"]) == sum(weights) <= flatten(params).decayed
    assert sum(p.numel() for p in others["params"]) == count_params(CONFIG) - sum(weights)
    assert (decayed["weight_decay"], others["weight_decay"], decayed["eps"]) == (0.3, 0.0, 1e-5)


def test_another_optimiser_is_not_compared():
    pytest.importorskip("torch")
    with pytest.raises(MinivitError, match="compares AdamW, but optimizer is 'sgd'"):
        theirs(SMALL._replace(settings=TrainSettings(optimizer="sgd")))


def test_a_width_that_fixed_positions_could_not_have_is_compared_all_the_same():
    pytest.importorskip("torch")
    workload = SMALL._replace(config=CONFIG.replace(width=18, heads=2))
    logits = np.concatenate(ours(workload).forward())
    assert np.abs(theirs(workload).forward().numpy() - logits).max() < 1e-4 * np.abs(logits).max()
