"""Checkpoints: what is saved comes back bit for bit, and damage is noticed."""

import threading

import numpy as np
import pytest

from minivit.errors import MinivitError
from minivit.model import ViTConfig, init_params, named
from minivit.training.checkpoint import MODEL, Checkpoints, checkpoint_of, load_moments, load_params, save_checkpoint
from minivit.training.optimizers import fresh_moments
from minivit.training.settings import TrainSettings
from minivit.training.step import fresh_state

CONFIG = ViTConfig(image_size=8, patch_size=4, width=12, depth=2, heads=2, classes=3)


@pytest.fixture
def state():
    state = fresh_state(init_params(CONFIG, 5), TrainSettings())
    rng = np.random.default_rng(0)
    state.params.buffer[...] += rng.standard_normal(state.params.buffer.size).astype(np.float32)
    state.moments.first[...] = rng.standard_normal(state.params.buffer.size)
    state.moments.second[...] = rng.random(state.params.buffer.size)
    state.step = 17
    return state


def test_parameters_and_moments_come_back_bit_for_bit(tmp_path, state):
    save_checkpoint(tmp_path, state, CONFIG, 3)
    params, epoch = load_params(tmp_path / MODEL, CONFIG)
    assert epoch == 3
    for (name, x), (_, y) in zip(named(state.params.tree), named(params), strict=True):
        np.testing.assert_array_equal(x, y, err_msg=name)
    moments = fresh_moments(state.params.buffer, "adamw")
    assert load_moments(tmp_path, 3, moments, "cpu") == 17
    np.testing.assert_array_equal(moments.first, state.moments.first)
    np.testing.assert_array_equal(moments.second, state.moments.second)


def test_the_same_state_gives_the_same_bytes(tmp_path, state):
    files = []
    for run in range(8):
        save_checkpoint(tmp_path / str(run), state, CONFIG, 3)
        files.append([p.read_bytes() for p in sorted((tmp_path / str(run) / "checkpoints").iterdir())])
    assert len(files[0]) == 2
    assert files == files[:1] * 8


def test_the_newest_moments_replace_the_old(tmp_path, state):
    for epoch in (1, 2, 3):
        save_checkpoint(tmp_path, state, CONFIG, epoch)
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == [
        "model.safetensors",
        "optimizer-0003.safetensors",
    ]


@pytest.mark.parametrize("written", [0, 1])
def test_a_crash_at_either_file_keeps_the_whole_pair_before(tmp_path, state, monkeypatch, written):
    """Whichever comes first: a model's file that names an epoch without moments could not be resumed."""
    save_checkpoint(tmp_path, state, CONFIG, 1)
    weight, first = state.params.tree.patch_weight.copy(), state.moments.first.copy()
    state.params.buffer[...], state.moments.first[...], state.step = 0.0, 0.0, 34
    from minivit.training import checkpoint

    done = []

    def dies(path, content):
        if len(done) == written:
            raise KeyboardInterrupt
        checkpoint_write(path, content)
        done.append(path)

    checkpoint_write = checkpoint.write_whole
    monkeypatch.setattr(checkpoint, "write_whole", dies)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path, state, CONFIG, 2)
    params, epoch = load_params(tmp_path / MODEL, CONFIG)
    assert epoch == 1
    np.testing.assert_array_equal(params.patch_weight, weight)
    moments = fresh_moments(state.params.buffer, "adamw")
    assert load_moments(tmp_path, epoch, moments, "cpu") == 17
    np.testing.assert_array_equal(moments.first, first)


def test_a_checkpoint_shares_nothing_with_the_state(state):
    """Which the next steps change in place, while it is written."""
    found = checkpoint_of(state, 1)
    copies = (*(x for _, x in named(found.params)), *found.moments)
    for x in copies:
        assert not any(np.shares_memory(x, y) for y in (state.params.buffer, *state.moments))


def test_training_goes_on_while_a_checkpoint_is_written(tmp_path, state, monkeypatch):
    """What is written is the state as it was; the next waits for it; who leaves, in whatever way, waits, too."""
    from minivit.training import checkpoint

    writing, go_on, before = threading.Event(), threading.Event(), state.moments.first.copy()

    def slowly(path, content):
        writing.set()
        assert go_on.wait(60)
        checkpoint_write(path, content)

    checkpoint_write = checkpoint.write_whole
    monkeypatch.setattr(checkpoint, "write_whole", slowly)
    with pytest.raises(KeyboardInterrupt), Checkpoints(tmp_path, CONFIG) as checkpoints:  # noqa: PT012
        checkpoints.save(state, 1)
        assert writing.wait(60)
        assert not (tmp_path / MODEL).exists()
        state.moments.first[...] = 0.0  # the next epoch's steps
        state.params.buffer[...] = 0.0
        threading.Timer(0.1, go_on.set).start()
        raise KeyboardInterrupt
    params, epoch = load_params(tmp_path / MODEL, CONFIG)
    assert epoch == 1
    assert np.any(params.patch_weight)
    found = fresh_moments(state.params.buffer, "adamw")
    load_moments(tmp_path, 1, found, "cpu")
    np.testing.assert_array_equal(found.first, before)


@pytest.mark.parametrize("by", ["save", "wait"])
def test_a_checkpoint_that_could_not_be_written_is_told(tmp_path, state, by):
    (tmp_path / "checkpoints").write_text("a file")
    with Checkpoints(tmp_path, CONFIG) as checkpoints:
        checkpoints.wait()  # for nothing
        checkpoints.save(state, 1)
        with pytest.raises(MinivitError, match=r"optimizer-0001\.safetensors cannot be written"):
            checkpoints.save(state, 2) if by == "save" else checkpoints.wait()


def test_numbers_of_a_type_that_numpy_has_not_are_told(tmp_path):
    """float8, say; bfloat16, too, unless ml_dtypes has taught NumPy what it is."""
    header = b'{"x": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}}'
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(2))
    with pytest.raises(MinivitError, match=r"holds numbers of a type that NumPy has not .*float8.* expected float32"):
        load_params(tmp_path / "model.safetensors", CONFIG)


@pytest.mark.parametrize("damage", ["cut", "empty", "garbage", "missing"])
def test_a_damaged_model_file_is_refused_in_a_sentence(tmp_path, state, damage):
    save_checkpoint(tmp_path, state, CONFIG, 1)
    path = tmp_path / MODEL
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"cut": whole[:-9], "empty": b"", "garbage": b"\xff" * 100}[damage])
    with pytest.raises(MinivitError, match=r"model\.safetensors cannot be read as a checkpoint"):
        load_params(path, CONFIG)


def test_another_models_file_is_refused(tmp_path, state):
    save_checkpoint(tmp_path, state, CONFIG, 1)
    with pytest.raises(MinivitError, match="does not fit its configuration"):
        load_params(tmp_path / MODEL, CONFIG.replace(depth=3))
    with pytest.raises(MinivitError, match=r"head\.weight.*expected float32 \(4, 12\)"):
        load_params(tmp_path / MODEL, CONFIG.replace(classes=4))


def test_moments_of_another_optimiser_are_refused(tmp_path):
    state = fresh_state(init_params(CONFIG), TrainSettings(optimizer="sgd"))
    save_checkpoint(tmp_path, state, CONFIG, 1)
    with pytest.raises(MinivitError, match="restore it or train again"):
        load_moments(tmp_path, 1, fresh_moments(state.params.buffer, "adamw"), "cpu")


@pytest.mark.parametrize("other", ["another type", "another size"])
def test_moments_of_another_type_or_size_are_refused(tmp_path, state, other):
    """Copied into the buffer, they would be rounded, or broadcast, in silence."""
    save_checkpoint(tmp_path, state, CONFIG, 1)
    buffer = state.params.buffer.astype(np.float64) if other == "another type" else np.tile(state.params.buffer, (2, 1))
    with pytest.raises(MinivitError, match="does not hold the moments of this model's optimiser; restore it or"):
        load_moments(tmp_path, 1, fresh_moments(buffer, "adamw"), "cpu")


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_parameters_that_are_no_numbers_are_refused(tmp_path, state, value):
    state.params.tree.norm_gain[3] = value
    save_checkpoint(tmp_path, state, CONFIG, 1)
    with pytest.raises(MinivitError, match=r"model.safetensors cannot be used: norm.weight holds nan or infinity"):
        load_params(tmp_path / MODEL, CONFIG)
