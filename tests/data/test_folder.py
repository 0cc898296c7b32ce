"""A folder of pictures as a data set."""

import re

import numpy as np
import pytest
from PIL import Image

from minivit.data.folder import folder_splits
from minivit.errors import MinivitError


def fill(folder, count, first=0, size=(6, 8), suffix="png"):
    """Write `count` pictures of one grey each: first, first + 1, ..."""
    folder.mkdir(parents=True)
    for i in range(count):
        Image.new("RGB", size[::-1], (first + i,) * 3).save(folder / f"{i:03d}.{suffix}")


def greys(dataset):
    return dataset.images[:, 0, 0, 0].tolist()


@pytest.fixture
def whole(tmp_path):
    """train, validation and test of the classes cat and dog; dog's pictures are 100 brighter."""
    for part, first, count in (("train", 0, 10), ("validation", 50, 2), ("test", 70, 3)):
        fill(tmp_path / part / "dog", count, first + 100)
        fill(tmp_path / part / "cat", count, first)
    return tmp_path


def refusal(data_dir):
    with pytest.raises(MinivitError) as caught:
        folder_splits(data_dir, (6, 8))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_all_three_parts_in_order(whole):
    splits = folder_splits(whole, (6, 8))
    assert splits.train.classes == splits.test.classes == ("cat", "dog")
    assert greys(splits.train) == [*range(10), *range(100, 110)]
    assert splits.train.labels.tolist() == [0] * 10 + [1] * 10
    assert greys(splits.validation) == [50, 51, 150, 151]
    assert greys(splits.test) == [70, 71, 72, 170, 171, 172]
    assert (splits.train.images.shape, splits.train.images.dtype) == ((20, 3, 6, 8), np.uint8)
    assert splits.train.labels.dtype == np.int64
    assert splits.notes == ()


def test_val_is_validation_but_not_both(whole):
    (whole / "validation").rename(whole / "val")
    assert greys(folder_splits(whole, (6, 8)).validation) == [50, 51, 150, 151]
    fill(whole / "validation" / "cat", 1)
    assert "has both validation and val" in refusal(whole)


def test_missing_parts_are_a_tenth_each_and_said(tmp_path):
    fill(tmp_path / "train" / "a", 20)
    fill(tmp_path / "train" / "b", 20, 100)
    splits = folder_splits(tmp_path, (6, 8))
    parts = [greys(part) for part in splits[:3]]
    assert [len(part) for part in parts] == [32, 4, 4]
    assert sorted(grey for part in parts for grey in part) == [*range(20), *range(100, 120)]
    assert np.bincount(splits.test.labels).tolist() == [2, 2]
    assert len(splits.notes) == 2
    assert "4 of the images of train were held out as validation" in splits.notes[0]
    assert "4 of the images of train were held out as test" in splits.notes[1]


def test_a_test_folder_alone_is_used(whole):
    (whole / "validation").rename(whole / ".elsewhere")
    splits = folder_splits(whole, (6, 8))
    assert [len(part.labels) for part in splits[:3]] == [18, 2, 6]
    assert len(splits.notes) == 1


def test_resized_pictures_are_counted(whole):
    fill(whole / "train" / "fish", 3, size=(9, 8))
    splits = folder_splits(whole, (6, 8))
    assert splits.notes == ("3 images of other sizes were resized to 6x8.",)
    assert len(splits.train.classes) == 3
    assert splits.train.images.shape[1:] == (3, 6, 8)


def test_suffixes_of_any_case_count_and_other_files_do_not(tmp_path):
    for name, suffix in zip("abcde", ("JPG", "jpeg", "webp", "bmp", "Png"), strict=True):
        fill(tmp_path / "train" / name, 3, suffix=suffix)
    (tmp_path / "train" / "a" / "notes.txt").write_text("no picture")
    (tmp_path / "train" / "b" / "moving.gif").write_bytes(b"GIF89a")
    (tmp_path / "train" / "a" / ".hidden.png").write_bytes(b"no picture, and nobody looks at it")
    (tmp_path / "train" / ".cache").mkdir()
    (tmp_path / "train" / "readme.md").write_text("no class")
    splits = folder_splits(tmp_path, (6, 8))
    assert splits.train.classes == tuple("abcde")
    assert sum(len(part.labels) for part in splits[:3]) == 15
    assert splits.notes[-1].startswith("2 files in the class folders were left out: they do not end in .png, .jpg")
    (tmp_path / "train" / "b" / "moving.gif").unlink()
    note = folder_splits(tmp_path, (6, 8)).notes[-1]
    assert note.startswith("1 file in the class folders was left out: it does not end in .png, .jpg")


def test_a_class_that_train_lacks_is_named(whole):
    (whole / "test" / "cat").rename(whole / "test" / "cats")
    message = refusal(whole)
    assert f"{whole / 'test' / 'cats'} is a class that train does not have" in message
    assert "Did you mean 'cat'?" in message


def test_missing_and_empty_folders(tmp_path):
    assert "has no folder train" in refusal(tmp_path)
    (tmp_path / "train").mkdir()
    assert "has the class folders []: expected two or more" in refusal(tmp_path)
    fill(tmp_path / "train" / "cat", 3)
    assert "has the class folders ['cat']: expected two or more" in refusal(tmp_path)
    (tmp_path / "train" / "dog").mkdir()
    assert f"the class folder {tmp_path / 'train' / 'dog'} is empty" in refusal(tmp_path)
    fill(tmp_path / "train" / "fish", 3)
    (tmp_path / "train" / "dog").rmdir()
    (tmp_path / "test").mkdir()
    assert f"{tmp_path / 'test'} has no class folders" in refusal(tmp_path)


def test_too_few_pictures_to_hold_any_out(tmp_path):
    fill(tmp_path / "train" / "a", 1)
    fill(tmp_path / "train" / "b", 1)
    assert "cannot hold out 1 of 1 images" in refusal(tmp_path)


def test_a_bad_picture_is_named(whole):
    bad = whole / "test" / "dog" / "001.png"
    bad.write_bytes(b"")
    assert str(bad) in refusal(whole)


def test_all_bad_pictures_are_named_at_once(whole):
    fill(whole / "train" / "fish", 14)
    bad = [whole / "train" / "fish" / f"{i:03d}.png" for i in range(12)]
    for path in bad[:2]:
        path.write_bytes(b"no picture")
    message = refusal(whole)
    assert message.startswith(f"{bad[0]} (10 bytes) is not a picture")
    assert message.endswith(f"remove or replace it; 1 more cannot be read either ({bad[1]})")
    for path in bad:
        path.write_bytes(b"")
    message = refusal(whole)
    assert f"; 11 more cannot be read either ({bad[1]}, " in message
    assert message.endswith(f"{bad[10]}, ...)")


def test_the_folder_of_the_training_images_is_not_the_data_s(whole):
    with pytest.raises(MinivitError, match=f"holds the training images alone: pass the folder it lies in, {whole}$"):
        folder_splits(whole / "train", (6, 8))


def test_files_of_other_kinds_alone_are_said(whole):
    folder = whole / "train" / "fish"
    folder.mkdir()
    (folder / "a.gif").touch()
    assert f"the class folder {folder} holds no pictures, but 1 other file or folder: expected" in refusal(whole)


def test_pictures_in_other_places_are_said(whole):
    """Too high, too deep, or in a folder whose name was misspelt."""
    fill(whole / "train" / "cat" / "more", 3)
    fill(whole / "train" / "cat" / "a.png", 1)
    deep = f"2 folders in class folders of {whole / 'train'} left out, with all in them: expected train/<class>/*.png."
    Image.new("RGB", (8, 6)).save(whole / "test" / "b.PNG")
    (whole / "test" / "readme.txt").touch()
    high = f"1 picture lies in {whole / 'test'} itself, left out: expected test/<class>/."
    assert folder_splits(whole, (6, 8)).notes == (deep, high)
    (whole / "test").rename(whole / "Test")
    known = "expected train, validation (or val) and test."
    notes = folder_splits(whole, (6, 8)).notes
    assert notes[0] == f"Left out of {whole}: Test; {known} Did you mean 'test'?"
    assert notes[-1] == deep
    (whole / "extra").mkdir()
    assert folder_splits(whole, (6, 8)).notes[0] == f"Left out of {whole}: Test, extra; {known}"


def test_a_link_to_nothing_is_a_picture_that_cannot_be_read(whole):
    (whole / "train" / "cat" / "gone.png").symlink_to("nowhere.png")
    assert str(whole / "train" / "cat" / "gone.png") in refusal(whole)


def test_whether_the_test_was_held_out_is_known(whole):
    assert not folder_splits(whole, (6, 8)).test_held_out
    (whole / "test").rename(whole / ".test")
    assert folder_splits(whole, (6, 8)).test_held_out


def test_no_class_loses_all_its_pictures(tmp_path):
    for c in range(20):
        fill(tmp_path / "train" / f"{c:02d}", 2)
    assert re.search(r"the class folder .*train/\d\d has too few pictures: all would be held out", refusal(tmp_path))
    for c in range(20):
        fill(tmp_path / "test" / f"{c:02d}", 1)
    assert np.bincount(folder_splits(tmp_path, (6, 8)).train.labels).min() == 1


def test_what_lies_in_the_other_parts_is_counted_too(whole):
    fill(whole / "test" / "fish", 2, size=(9, 8))
    fill(whole / "train" / "fish", 3)
    fill(whole / "validation" / "fish", 2)
    (whole / "test" / "cat" / "a.txt").touch()
    (whole / "validation" / "cat" / "a.txt").touch()
    notes = folder_splits(whole, (6, 8)).notes
    assert notes[0] == "2 images of other sizes were resized to 6x8."
    assert notes[1].startswith("2 files in the class folders were left out")


def test_a_tenth_is_held_out(tmp_path):
    for name in ("cat", "dog"):
        fill(tmp_path / "train" / name, 45)
    assert [len(part.labels) for part in folder_splits(tmp_path, (6, 8))[:3]] == [72, 9, 9]
