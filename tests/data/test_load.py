"""The one door to every data set."""

import subprocess
import sys

import pytest
from helpers.cifar_files import random_images, write_binary
from PIL import Image

from minivit.data import load
from minivit.errors import MinivitError


def refusal(*arguments):
    with pytest.raises(MinivitError) as caught:
        load(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_shapes_of_a_size():
    splits = load("shapes", None, (16, 16))
    assert [part.images.shape for part in splits[:3]] == [(n, 3, 16, 16) for n in (10_000, 1_000, 2_000)]


@pytest.mark.parametrize("size", [None, (32, 32)])
def test_cifar_from_a_str_or_path(tmp_path, size):
    write_binary(tmp_path, "cifar100", *random_images(30, 100), *random_images(10, 100))
    for folder in (tmp_path, str(tmp_path)):
        assert load("cifar100", folder, size).train.images.shape == (27, 3, 32, 32)


def test_a_folder_of_pictures(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for i in range(5):
            Image.new("RGB", (40, 40)).save(tmp_path / "train" / name / f"{i}.png")
    assert load("folder", tmp_path, (8, 12)).train.images.shape == (8, 3, 8, 12)
    assert load("folder", tmp_path, None).train.images.shape == (8, 3, 32, 32)


def test_what_cannot_be_loaded_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    message = refusal("cifar11", None, None)
    assert "'cifar11' is not known: expected one of shapes, cifar10, cifar100, folder" in message
    assert "Did you mean 'cifar10" in message
    assert "needs a folder of pictures" in refusal("folder", None, None)
    assert "does not exist" in refusal("cifar10", tmp_path / "none", None)
    assert "is a file: expected a folder" in refusal("folder", str(tmp_path / "file"), None)
    assert "are 32x32, not 64x64" in refusal("cifar10", tmp_path, (64, 64))
    assert "square, not 32x48" in refusal("shapes", None, (32, 48))
    assert "is drawn, not read" in refusal("shapes", tmp_path, None)


def test_importing_the_package_imports_numpy_only():
    code = (
        "import sys, minivit.data; "
        "print([m for m in ('PIL', 'tqdm', 'cupy', 'scipy', 'matplotlib') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_somebody_without_a_home_is_a_sentence():
    with pytest.raises(
        MinivitError, match=r"~nobody-of-that-name/x cannot be found: .*; write the folder's whole name"
    ):
        load("folder", "~nobody-of-that-name/x")


def test_home_is_meant_by_its_sign(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(MinivitError, match=f"{tmp_path / 'pictures'} does not exist"):
        load("folder", "~/pictures")


@pytest.mark.parametrize("size", [(0, 0), (-1, 4), (4, 0)])
def test_images_of_no_pixels_are_refused(tmp_path, size):
    with pytest.raises(MinivitError, match=f"the image size is {size[0]}x{size[1]}; expected 1x1 or more"):
        load("folder", tmp_path, size)


def test_what_may_not_be_read_is_a_sentence(tmp_path):
    with pytest.raises(MinivitError, match=r"a+ cannot be read \(File name too long\)$"):
        load("folder", "a" * 300)
