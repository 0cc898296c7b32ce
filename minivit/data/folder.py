"""A folder of pictures as a data set: one folder a class.

DATA/train/<class>/*.png        required; png, jpg, jpeg, webp or bmp
DATA/validation/<class>/*.png   optional, or val/; else a tenth of train is held out
DATA/test/<class>/*.png         optional; else a tenth of train is held out
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from minivit.arrays import Array
from minivit.data.dataset import Dataset, Splits, hold_out
from minivit.data.image import read_image
from minivit.errors import MinivitError, nearest

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
_NAMED = 10  # bad pictures beside the first whose names are told


class _Read(NamedTuple):
    dataset: Dataset
    resized: int  # how many images were of another size
    left_out: int  # how many files are of other kinds
    unread: tuple[str, ...]  # sentences: what lies where no pictures are looked for


def folder_splits(data_dir: Path, size: tuple[int, int]) -> Splits:
    """Read data_dir as images (N, 3, H, W) for size (H, W); classes and files in the order of their names.

    Files of other kinds, pictures in other places and whatever is hidden are left out. The notes say how many files
    that were, how many images were resized and what was held out. Raises MinivitError for a missing or empty folder,
    a single class, a class that train does not have or that would lose all its images, too few images, or pictures
    that cannot be read.
    """
    train_dir = data_dir / "train"
    classes = _classes(data_dir)
    reads = [_read(train_dir, classes, size)]
    train = reads[0].dataset
    tenth = max(1, len(train.labels) // 10)  # of all that train holds, so that both parts are as large
    parts, notes = {}, _other_folders(data_dir)
    for part, folder in (("validation", _validation_folder(data_dir)), ("test", data_dir / "test")):
        if folder is not None and folder.is_dir():
            reads.append(_read(folder, classes, size))
            parts[part] = reads[-1].dataset
        else:
            try:
                train, parts[part] = hold_out(train, tenth)
            except MinivitError as error:
                raise MinivitError(f"{train_dir} has too few pictures: {error}") from error
            notes.append(f"{data_dir} has no folder {part}: {tenth} of the images of train were held out as {part}.")
    for label in np.flatnonzero(np.bincount(train.labels, minlength=len(classes)) == 0):
        raise MinivitError(
            f"the class folder {train_dir / classes[label]} has too few pictures: all would be held out; "
            "expected more, or folders validation and test"
        )
    held_out = not (data_dir / "test").is_dir()
    return Splits(train, parts["validation"], parts["test"], (*notes, *_notes(reads, size)), held_out)


def _classes(data_dir: Path) -> tuple[str, ...]:
    """The names of train's class folders. Raises MinivitError without train/ or with a single class."""
    train_dir = data_dir / "train"
    if not train_dir.is_dir() and data_dir.name == "train":
        raise MinivitError(f"{data_dir} holds the training images alone: pass the folder it lies in, {data_dir.parent}")
    if not train_dir.is_dir():
        raise MinivitError(
            f"{data_dir} has no folder train: expected train/<class>/ with pictures (and validation/ and"
            " test/ if there are any), so move the class folders into one named train"
        )
    classes = tuple(_class_folders(train_dir))
    if len(classes) < 2:
        raise MinivitError(
            f"{train_dir} has the class folders {list(classes)}: expected two or more, one a class, so"
            " that there is something to tell apart"
        )
    return classes


def _notes(reads: list[_Read], size: tuple[int, int]) -> list[str]:
    """What the user should know of all that was read: resized pictures, other files, pictures in other places."""
    notes = []
    if resized := sum(read.resized for read in reads):
        images = "image of another size was" if resized == 1 else "images of other sizes were"
        notes.append(f"{resized} {images} resized to {size[0]}x{size[1]}.")
    if left_out := sum(read.left_out for read in reads):
        files = "files in the class folders were left out: they do"
        if left_out == 1:
            files = "file in the class folders was left out: it does"
        notes.append(f"{left_out} {files} not end in {', '.join(SUFFIXES)}.")
    return [*notes, *(note for read in reads for note in read.unread)]


def _other_folders(data_dir: Path) -> list[str]:
    """The note, if it takes one, about folders that are none of a data set's: misspelt ones, say."""
    known = ("train", "validation", "val", "test")
    others = [p for p in _class_folders(data_dir) if p not in known]
    if not others:
        return []
    hint = nearest(others[0].lower(), known) if len(others) == 1 else ""
    names = ", ".join(others[:_NAMED]) + (", ..." if len(others) > _NAMED else "")
    return [f"Left out of {data_dir}: {names}; expected train, validation (or val) and test.{hint}"]


def _validation_folder(data_dir: Path) -> Path | None:
    """Return validation/ or val/; raises MinivitError if both are there, for one would be ignored."""
    both = [data_dir / name for name in ("validation", "val") if (data_dir / name).is_dir()]
    if len(both) == 2:
        raise MinivitError(f"{data_dir} has both validation and val: expected one of them, so remove the other")
    return both[0] if both else None


def _class_folders(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _read(folder: Path, classes: tuple[str, ...], size: tuple[int, int]) -> _Read:
    """Read folder/<class>/* for every class folder there, all of which must be among `classes`."""
    files, labels, left_out, inner = [], [], 0, 0
    for name in _class_folders(folder):
        if name not in classes:
            raise MinivitError(
                f"{folder / name} is a class that train does not have: expected one of its"
                f" {len(classes)} classes, so rename or remove it.{nearest(name, classes)}"
            )
        there = [p for p in (folder / name).iterdir() if not p.name.startswith(".")]
        folders = [p for p in there if p.is_dir()]
        pictures = sorted(p for p in there if p not in folders and p.suffix.lower() in SUFFIXES)
        left_out += len(there) - len(folders) - len(pictures)
        inner += len(folders)
        if not pictures:
            other = "file or folder" if len(there) == 1 else "files or folders"
            what = f"holds no pictures, but {len(there)} other {other}" if there else "is empty"
            raise MinivitError(
                f"the class folder {folder / name} {what}: expected pictures ending in"
                f" {', '.join(SUFFIXES)}, so add some or remove the folder"
            )
        files += pictures
        labels += [classes.index(name)] * len(pictures)
    if not files:
        raise MinivitError(
            f"{folder} has no class folders: expected {folder.name}/<class>/ with pictures, so add them or"
            " remove the folder"
        )
    images, resized = _read_images(files, size)
    return _Read(Dataset(images, np.array(labels, np.int64), classes), resized, left_out, _unread(folder, inner))


def _unread(folder: Path, inner: int) -> tuple[str, ...]:
    """Notes on what lies too high, in `folder` itself, and too deep, in `inner` folders of class folders."""
    above = sum(p.suffix.lower() in SUFFIXES and p.is_file() and not p.name.startswith(".") for p in folder.iterdir())
    notes = []
    if above:
        pictures = "picture lies" if above == 1 else "pictures lie"
        notes.append(f"{above} {pictures} in {folder} itself, left out: expected {folder.name}/<class>/.")
    if inner:
        folders = "folder in a class folder" if inner == 1 else "folders in class folders"
        notes.append(f"{inner} {folders} of {folder} left out, with all in them: expected {folder.name}/<class>/*.png.")
    return tuple(notes)


def _read_images(files: list[Path], size: tuple[int, int]) -> tuple[Array, int]:
    """Images (N, 3, H, W) and how many were resized. Raises MinivitError once, for all that cannot be read."""
    images = np.empty((len(files), 3, *size), np.uint8)
    resized, bad = 0, []
    for i, path in enumerate(files):
        try:
            images[i], changed = read_image(path, size)
            resized += changed
        except MinivitError as error:
            bad.append((path, error))
    if bad:
        others = [str(path) for path, _ in bad[1:]]
        names = ", ".join(others[:_NAMED]) + (", ..." if len(others) > _NAMED else "")
        raise MinivitError(f"{bad[0][1]}" + (f"; {len(others)} more cannot be read either ({names})" if others else ""))
    return images, resized
