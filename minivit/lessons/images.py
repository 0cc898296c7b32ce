"""Images for the notebooks, offline: one photograph that matplotlib ships, and CIFAR-10 where it is found."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minivit.arrays import Array
from minivit.data import Dataset, Splits, shapes_splits, take
from minivit.data.cifar import cifar_splits
from minivit.data.download import cache_folder
from minivit.data.image import read_image
from minivit.errors import MinivitError
from minivit.files import expanded


class SmallPhotographs(NamedTuple):
    """Images of 32x32 pixels in ten classes to learn from, and others to test on."""

    train: Dataset  # images (N, 3, 32, 32) uint8, labels (N,)
    test: Dataset
    source: str  # a sentence: what they are


def photograph(height: int = 600, width: int = 512) -> Array:
    """The photograph of Grace Hopper that matplotlib ships, as (3, height, width) uint8.

    600x512 is its own size; another is resized. Source: NASA, public domain.
    """
    from matplotlib.cbook import get_sample_data

    path = get_sample_data("grace_hopper.jpg", asfileobj=False)
    return read_image(Path(str(path)), (height, width))[0]


def small_photographs(train: int, test: int) -> SmallPhotographs:
    """`train` and `test` images of CIFAR-10 where it is found, else of the built-in shapes; nothing is downloaded.

    It is looked for in the folder $MINIVIT_DATA, in data/ here and above, and where `minivit train`
    keeps its download. The images are the first of each split. Raises MinivitError if $MINIVIT_DATA holds no
    CIFAR-10, or for more images than there are.
    """
    splits = _cifar10()
    if splits is not None:
        source = f"CIFAR-10: {train} training and {test} test photographs of 32x32 pixels."
    else:
        splits = shapes_splits()
        source = (
            f"CIFAR-10 was not found, so these are the built-in shapes: {train} training and {test} test images. "
            "`minivit train --config examples/cifar10_cpu.toml` downloads it; or set MINIVIT_DATA to its folder."
        )
    return SmallPhotographs(_first(splits.train, train), _first(splits.test, test), source)


def _cifar10() -> Splits | None:
    named = os.environ.get("MINIVIT_DATA")
    if named:
        folder = expanded(Path(named))
        if not folder.is_dir():
            raise MinivitError(
                f"MINIVIT_DATA is {named}, which is no folder; name the folder that holds CIFAR-10, or unset it"
            )
        try:
            return cifar_splits("cifar10", folder)
        except (MinivitError, OSError) as error:
            said = str(error).replace("omit --data-dir to download it", "unset MINIVIT_DATA to do without")
            raise MinivitError(f"MINIVIT_DATA: {said}") from error
    for near in ("data", "../data", "../../data", None):
        with contextlib.suppress(MinivitError, OSError):  # nothing there, only a part, or nothing that may be read
            return cifar_splits("cifar10", cache_folder() if near is None else Path(near))
    return None


def _first(dataset: Dataset, count: int) -> Dataset:
    if count > len(dataset.labels):
        raise MinivitError(f"small_photographs: {count} images were asked for; there are {len(dataset.labels)}")
    return take(dataset, np.arange(count))
