"""CIFAR-10 and CIFAR-100: found in either layout, as a folder or as the archive, or downloaded.

60 000 colour photographs of 32x32 pixels in 10 or 100 classes: 50 000 for training, of which 5 000
are held out for validation, and 10 000 for the test. CIFAR-100 is read with its 100 fine labels.
Source: Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minivit.arrays import Array
from minivit.data.archive import read_archive, read_folder
from minivit.data.dataset import Dataset, Splits, hold_out
from minivit.data.download import fetch
from minivit.data.records import PIXELS, parse_binary, parse_python
from minivit.data.unpickle import text, unpickle
from minivit.errors import MinivitError

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
TRAINING_IMAGES, VALIDATION_IMAGES, TEST_IMAGES = 50_000, 5_000, 10_000
_NAMES_LIMIT = 1 << 20  # bytes of a file of class names


class Layout(NamedTuple):
    """One way in which a data set lies on disk."""

    folder: str  # its official name, also inside the archive
    archive: str
    train: tuple[str, ...]
    test: str
    names: str  # the file of class names; it may be missing
    label: int | str  # binary: label bytes before the pixels; python: the labels' key
    names_key: str = ""  # python: the key of the class names


_BATCHES = tuple(f"data_batch_{i}" for i in range(1, 6))
LAYOUTS = {
    "cifar10": (
        Layout(
            folder="cifar-10-batches-bin",
            archive="cifar-10-binary.tar.gz",
            train=tuple(f"{name}.bin" for name in _BATCHES),
            test="test_batch.bin",
            names="batches.meta.txt",
            label=1,
        ),
        Layout(
            folder="cifar-10-batches-py",
            archive="cifar-10-python.tar.gz",
            train=_BATCHES,
            test="test_batch",
            names="batches.meta",
            label="labels",
            names_key="label_names",
        ),
    ),
    "cifar100": (
        Layout(
            folder="cifar-100-binary",
            archive="cifar-100-binary.tar.gz",
            train=("train.bin",),
            test="test.bin",
            names="fine_label_names.txt",
            label=2,
        ),
        Layout(
            folder="cifar-100-python",
            archive="cifar-100-python.tar.gz",
            train=("train",),
            test="test",
            names="meta",
            label="fine_labels",
            names_key="fine_label_names",
        ),
    ),
}


class _Files(NamedTuple):
    """A data set's files in memory."""

    layout: Layout
    contents: dict[str, bytes]
    where: str  # the folder, or the archive and the folder in it; a file's name follows


def cifar_splits(name: str, data_dir: Path | None) -> Splits:
    """Read "cifar10" or "cifar100" from `data_dir`, or from the cache after a download if that is None.

    `data_dir` is the official folder, a folder that holds it, or one that holds the official archive.
    Images are (N, 3, 32, 32). Raises MinivitError if nothing complete is found, or for a bad file.
    """
    files = _from_archive(fetch(name), LAYOUTS[name][1]) if data_dir is None else _find(name, data_dir)
    classes = _classes(files, name)
    train = _dataset(files, files.layout.train, classes)
    test = _dataset(files, (files.layout.test,), classes)
    total = len(train.labels)
    notes: tuple[str, ...] = ()
    if total != TRAINING_IMAGES or len(test.labels) != TEST_IMAGES:
        notes = (
            f"{name} is not complete: {total} of {TRAINING_IMAGES} training and"
            f" {len(test.labels)} of {TEST_IMAGES} test images were found.",
        )
    held = VALIDATION_IMAGES if total == TRAINING_IMAGES else max(1, total // 10)
    return Splits(*hold_out(train, held), test, notes)


def _find(name: str, data_dir: Path) -> _Files:
    """Return the files of the first complete layout in `data_dir`: folders first, then archives."""
    incomplete = None
    for layout in LAYOUTS[name]:
        for folder in (data_dir, data_dir / layout.folder):
            there = [file for file in (*layout.train, layout.test) if (folder / file).is_file()]
            if len(there) == len(layout.train) + 1:
                return _Files(layout, read_folder(folder, _limits(layout)), f"{folder}{os.sep}")
            if there and incomplete is None:
                incomplete = (layout, folder, there)
    for layout in LAYOUTS[name]:
        if (data_dir / layout.archive).is_file():
            return _from_archive(data_dir / layout.archive, layout)
    if incomplete is not None:
        layout, folder, there = incomplete
        _refuse_missing(str(folder), layout, there)
    binary, python = LAYOUTS[name]
    raise MinivitError(
        f"no {name} found in {data_dir}: looked there for the folders {binary.folder} and {python.folder},"
        f" their files, and the archives {binary.archive} and {python.archive}; omit --data-dir to"
        " download it"
    )


def _from_archive(archive: Path, layout: Layout) -> _Files:
    contents = read_archive(archive, layout.folder, _limits(layout))
    _refuse_missing(str(archive), layout, contents)
    return _Files(layout, contents, f"{archive}: {layout.folder}/")


def _refuse_missing(where: str, layout: Layout, there: Mapping[str, bytes] | list[str]) -> None:
    missing = [file for file in (*layout.train, layout.test) if file not in there]
    if missing:
        raise MinivitError(
            f"{where} lacks {', '.join(missing)} of the files of {layout.folder}: expected all of"
            f" {', '.join((*layout.train, layout.test))}, so unpack or download it again"
        )


def _most_images(layout: Layout, file: str) -> int:
    """Return how many images the official file has."""
    return TEST_IMAGES if file == layout.test else TRAINING_IMAGES // len(layout.train)


def _limits(layout: Layout) -> dict[str, int]:
    """Return the most bytes that are read of each file."""
    limits = {layout.names: _NAMES_LIMIT}
    for file in (*layout.train, layout.test):
        # A pickle may need two bytes a pixel, and names its images; binary files are checked to the byte.
        limits[file] = _most_images(layout, file) * (2 * PIXELS + 1024)
    return limits


def _dataset(files: _Files, names: tuple[str, ...], classes: tuple[str, ...]) -> Dataset:
    """Return the images and labels of the batch files `names`, one after the other."""
    images: list[Array] = []
    labels: list[Array] = []
    for name in names:
        blob, label = files.contents.pop(name), files.layout.label
        where, most = files.where + name, _most_images(files.layout, name)
        if isinstance(label, int):
            parsed = parse_binary(blob, where, label, len(classes), most)
        else:
            parsed = parse_python(blob, where, label, len(classes), most)
        images.append(parsed[0])
        labels.append(parsed[1])
    return Dataset(np.concatenate(images), np.concatenate(labels), classes)


def _classes(files: _Files, name: str) -> tuple[str, ...]:
    """Return the class names of the names file, or built-in ones if there is none."""
    count = 10 if name == "cifar10" else 100
    layout = files.layout
    blob = files.contents.get(layout.names)
    if blob is None:
        return CIFAR10_CLASSES if count == 10 else tuple(f"class {i}" for i in range(count))
    where = files.where + layout.names
    if layout.names_key:
        names = unpickle(blob, where).get(layout.names_key)
        listed = names if isinstance(names, list) else []
        classes = tuple(text(n) for n in listed if isinstance(n, str | bytes))
    else:
        classes = tuple(line.strip() for line in blob.decode("latin1").splitlines() if line.strip())
    if len(classes) != count:
        raise MinivitError(
            f"{where} holds {len(classes)} class names: expected {count}, so replace it by the official"
            " file, or remove it to use built-in names"
        )
    return classes
