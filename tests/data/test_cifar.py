"""CIFAR-10 and CIFAR-100, in every way they lie on disk."""

import functools
import importlib.util
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.cifar_files import CLASSES, pack, random_images, write_binary, write_python

from minivit.data import cifar, hold_out
from minivit.data.cifar import cifar_splits
from minivit.data.dataset import Dataset
from minivit.errors import MinivitError

REAL = Path(__file__).parents[2].parent / "shared" / "cifar10" / "unpack.py"
SETS = [("cifar10", 10), ("cifar100", 100)]
WRITERS = [write_binary, write_python]


def write(folder, name, writer, train=50, test=20):
    classes = len(CLASSES[name])
    return writer(folder, name, *random_images(train, classes), *random_images(test, classes, seed=1))


def check(splits, name, train=50, test=20):
    """The splits hold what `write` wrote."""
    classes = tuple(CLASSES[name])
    whole = Dataset(*random_images(train, len(classes)), classes)
    for got, expected in zip(splits[:2], hold_out(whole, train // 10), strict=True):
        np.testing.assert_array_equal(got.images, expected.images)
        np.testing.assert_array_equal(got.labels, expected.labels)
        assert (got.images.dtype, got.labels.dtype, got.classes) == (np.uint8, np.int64, classes)
    np.testing.assert_array_equal(splits.test.images, random_images(test, len(classes), seed=1)[0])
    assert splits.notes == (
        f"{name} is not complete: {train} of 50000 training and {test} of 10000 test images were found.",
    )


def refusal(name, data_dir):
    with pytest.raises(MinivitError) as caught:
        cifar_splits(name, data_dir)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_found_in_the_folder_below_it_and_in_the_archive(tmp_path, name, writer):
    folder = write(tmp_path / "data", name, writer)
    check(cifar_splits(name, folder), name)
    check(cifar_splits(name, folder.parent), name)
    archive = next(layout.archive for layout in cifar.LAYOUTS[name] if layout.folder == folder.name)
    pack(folder, tmp_path / archive)
    check(cifar_splits(name, tmp_path), name)


def test_without_a_folder_the_fetched_archive_is_read(tmp_path, monkeypatch):
    archive = pack(write(tmp_path, "cifar10", write_python), tmp_path / "fetched.tar.gz")
    monkeypatch.setattr(cifar, "fetch", lambda name: archive)
    check(cifar_splits("cifar10", None), "cifar10")


def test_a_complete_archive_wins_over_an_incomplete_folder(tmp_path):
    folder = write(tmp_path, "cifar10", write_python)
    pack(folder, tmp_path / "cifar-10-python.tar.gz")
    (folder / "data_batch_3").unlink()
    check(cifar_splits("cifar10", tmp_path), "cifar10")


def test_a_full_training_set_gives_5000_for_validation(tmp_path):
    images, labels = np.zeros((50_000, 3, 32, 32), np.uint8), np.arange(50_000) % 10
    write_binary(tmp_path, "cifar10", images, labels, images[:10_000], labels[:10_000])
    splits = cifar_splits("cifar10", tmp_path)
    assert [len(part.labels) for part in splits[:3]] == [45_000, 5_000, 10_000]
    assert np.bincount(splits.validation.labels).tolist() == [500] * 10
    assert splits.notes == ()


def test_a_part_of_the_training_set_gives_a_tenth_for_validation(tmp_path):
    """Of fewer images 5000 could be nearly all. CIFAR-100 has them in one file, of more than CIFAR-10's 10 000."""
    images, labels = np.zeros((12_000, 3, 32, 32), np.uint8), np.arange(12_000) % 100
    write_binary(tmp_path, "cifar100", images, labels, images[:20], labels[:20])
    assert [len(part.labels) for part in cifar_splits("cifar100", tmp_path)[:2]] == [10_800, 1_200]


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize(("name", "classes"), SETS)
def test_class_names_are_built_in_where_their_file_is_missing(tmp_path, name, classes, writer):
    folder = write(tmp_path, name, writer)
    (folder / next(layout.names for layout in cifar.LAYOUTS[name] if layout.folder == folder.name)).unlink()
    expected = CLASSES[name] if classes == 10 else [f"class {i}" for i in range(100)]
    assert cifar_splits(name, tmp_path).test.classes == tuple(expected)


def test_a_wrong_number_of_class_names_is_refused(tmp_path):
    folder = write(tmp_path, "cifar10", write_binary)
    (folder / "batches.meta.txt").write_text("cat\ndog\n")
    assert "batches.meta.txt holds 2 class names: expected 10" in refusal("cifar10", tmp_path)
    folder = write(tmp_path / "python", "cifar100", write_python)
    (folder / "meta").write_bytes(pickle.dumps({b"label_names": []}, 2))
    assert "meta holds 0 class names: expected 100" in refusal("cifar100", folder)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_an_empty_folder_is_told_what_was_looked_for(tmp_path, name):
    message = refusal(name, tmp_path)
    for layout in cifar.LAYOUTS[name]:
        assert layout.folder in message
        assert layout.archive in message
    assert "omit --data-dir" in message


@pytest.mark.parametrize("writer", WRITERS)
def test_missing_batches_are_named(tmp_path, writer):
    folder = write(tmp_path, "cifar10", writer)
    names = sorted(path.name for path in folder.iterdir() if path.name.startswith(("data_batch", "test")))
    (folder / names[1]).unlink()
    (folder / names[5]).unlink()
    assert f"{folder} lacks {names[1]}, {names[5]} of" in refusal("cifar10", tmp_path)
    archive = pack(folder, tmp_path / f"cifar-10-{'python' if writer is write_python else 'binary'}.tar.gz")
    assert f"{archive} lacks {names[1]}, {names[5]} of" in refusal("cifar10", tmp_path)


def test_the_other_data_set_is_not_taken_for_this_one(tmp_path):
    write(tmp_path, "cifar100", write_python)
    assert "no cifar10 found" in refusal("cifar10", tmp_path)


def test_too_many_records_are_refused(tmp_path):
    folder = write(tmp_path, "cifar10", write_binary)
    (folder / "data_batch_2.bin").write_bytes(bytes(10_001 * 3073))
    assert "data_batch_2.bin has 30733073 bytes, 10001.00 records" in refusal("cifar10", tmp_path)


def test_a_test_file_has_as_many_records_as_the_official_one(tmp_path):
    folder = write(tmp_path, "cifar100", write_binary)
    (folder / "test.bin").write_bytes(bytes(10_001 * 3074))
    assert "10001.00 records of 3074: expected 1 to 10000 whole records" in refusal("cifar100", tmp_path)


def test_a_file_of_absurd_size_is_not_even_read(tmp_path):
    folder = write(tmp_path, "cifar10", write_python)
    with open(folder / "data_batch_1", "wb") as file:
        file.truncate(1 << 40)  # a hole; reading it would fill the memory
    assert "has 1099511627776 bytes: expected at most" in refusal("cifar10", tmp_path)


@pytest.mark.parametrize("writer", WRITERS)
def test_a_bad_file_is_named_in_a_folder_and_in_an_archive(tmp_path, writer):
    folder = write(tmp_path, "cifar100", writer)
    path = next(path for path in folder.iterdir() if path.name in ("test", "test.bin"))
    path.write_bytes(path.read_bytes()[:-10])
    assert refusal("cifar100", tmp_path).startswith(str(path))
    archive = pack(folder, tmp_path / f"cifar-100-{'python' if writer is write_python else 'binary'}.tar.gz")
    path.unlink()
    assert refusal("cifar100", tmp_path).startswith(f"{archive}: {folder.name}/{path.name}")


@pytest.mark.skipif(not REAL.exists(), reason="the JPEG copy of CIFAR-10 is not beside this repository")
def test_real_images_are_the_same_in_both_layouts(tmp_path, monkeypatch):
    """Written by a program that is not ours; only every 25th image, 25 times over, for the sake of time."""
    spec = importlib.util.spec_from_file_location("unpack", REAL)
    unpack = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(unpack)
    read, records = unpack.read, unpack.records
    unpack.read = functools.cache(lambda split: read(split)[::25])
    unpack.records = lambda split, rng: np.tile(records(split, rng), (25, 1))
    for layout in ("binary", "python"):
        monkeypatch.setattr(sys, "argv", ["unpack.py", str(tmp_path / layout), "--layout", layout, "--limit", "20"])
        unpack.main()
    binary, python = (cifar_splits("cifar10", tmp_path / layout) for layout in ("binary", "python"))
    for a, b in zip(binary[:3], python[:3], strict=True):
        np.testing.assert_array_equal(a.images, b.images)
        np.testing.assert_array_equal(a.labels, b.labels)
        assert a.classes == b.classes == tuple(CLASSES["cifar10"])
    assert [len(part.labels) for part in binary[:3]] == [90, 10, 20]


def test_a_short_test_set_beside_all_training_images_is_said(tmp_path):
    images, labels = np.zeros((50_000, 3, 32, 32), np.uint8), np.arange(50_000) % 10
    write_binary(tmp_path, "cifar10", images, labels, images[:20], labels[:20])
    (note,) = cifar_splits("cifar10", tmp_path).notes
    assert note.endswith("50000 of 50000 training and 20 of 10000 test images were found.")


def test_of_a_few_images_one_is_held_out(tmp_path):
    write(tmp_path, "cifar10", write_binary, train=5)
    splits = cifar_splits("cifar10", tmp_path)
    assert [len(part.labels) for part in splits[:2]] == [4, 1]


def test_of_two_incomplete_layouts_the_first_is_told(tmp_path):
    for writer in (write_python, write_binary):
        write(tmp_path, "cifar10", writer)
    for path in (*tmp_path.rglob("data_batch_3"), *tmp_path.rglob("data_batch_4.bin")):
        path.unlink()
    assert "data_batch_3" in refusal("cifar10", tmp_path)
