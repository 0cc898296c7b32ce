"""Where the notebooks' images come from."""

import numpy as np
import pytest
from helpers.cifar_files import pack, random_images, write_binary, write_python
from matplotlib.cbook import get_sample_data
from PIL import Image

from minivit import MinivitError
from minivit.lessons import photograph, small_photographs


@pytest.fixture
def nothing_here(tmp_path, monkeypatch):
    """An empty folder to stand in, and an empty cache."""
    monkeypatch.delenv("MINIVIT_DATA", raising=False)
    monkeypatch.setenv("MINIVIT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "project" / "notebooks").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project" / "notebooks")
    return tmp_path


def test_the_photograph_is_one():
    whole = photograph()
    assert whole.shape == (3, 600, 512)
    assert whole.dtype == np.uint8
    assert whole.std() > 40
    assert photograph(48, 32).shape == (3, 48, 32)
    path = get_sample_data("grace_hopper.jpg", asfileobj=False)
    assert np.array_equal(whole.transpose(1, 2, 0), np.asarray(Image.open(path)))


def test_shapes_stand_in_and_it_is_said(nothing_here):
    found = small_photographs(30, 20)
    assert found.train.images.shape == (30, 3, 32, 32)
    assert found.test.images.shape == (20, 3, 32, 32)
    assert "CIFAR-10 was not found" in found.source
    assert "star" in found.train.classes


@pytest.mark.parametrize("place", ["data", "../data", "named", "cache"])
def test_cifar_is_found(place, nothing_here, monkeypatch):
    images, labels = random_images(60, 10)
    folder = nothing_here / "project" / "notebooks" / place
    if place == "named":
        monkeypatch.setenv("MINIVIT_DATA", str(folder))
    if place == "cache":
        folder = nothing_here / "cache"
    if place == "cache":  # what `minivit train` leaves after its download
        pack(write_python(nothing_here / "made", "cifar10", images, labels, *random_images(20, 10, 1)), _made(folder))
    else:
        write_binary(folder, "cifar10", images, labels, *random_images(20, 10, 1))
    found = small_photographs(40, 20)
    assert found.source == "CIFAR-10: 40 training and 20 test photographs of 32x32 pixels."
    assert np.array_equal(found.test.images, random_images(20, 10, 1)[0])


def _made(folder):
    folder.mkdir()
    return folder / "cifar-10-python.tar.gz"


def test_a_named_folder_without_it_is_an_error(nothing_here, monkeypatch):
    monkeypatch.setenv("MINIVIT_DATA", str(nothing_here))
    with pytest.raises(MinivitError, match=r"MINIVIT_DATA: no cifar10 found in .* unset MINIVIT_DATA"):
        small_photographs(3, 3)
    monkeypatch.setenv("MINIVIT_DATA", str(nothing_here / "nowhere"))
    with pytest.raises(MinivitError, match=r"MINIVIT_DATA is .*nowhere, which is no folder"):
        small_photographs(3, 3)


def test_more_images_than_there_are_is_an_error(nothing_here):
    with pytest.raises(MinivitError, match="small_photographs: 3000 images were asked for; there are 2000"):
        small_photographs(3, 3000)


def test_what_may_not_be_read_is_as_if_it_were_not_there(nothing_here, monkeypatch):
    def refused(*_):
        raise PermissionError(13, "Permission denied", "data")

    monkeypatch.setattr("minivit.lessons.images.cifar_splits", refused)
    assert "CIFAR-10 was not found" in small_photographs(10, 10).source
    monkeypatch.setenv("MINIVIT_CACHE", "~nobody-of-that-name/x")
    assert "CIFAR-10 was not found" in small_photographs(10, 10).source
    monkeypatch.setenv("MINIVIT_DATA", str(nothing_here))
    with pytest.raises(MinivitError, match=r"MINIVIT_DATA: .*Permission denied"):
        small_photographs(10, 10)
