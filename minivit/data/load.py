"""One door to every data set: its name, where it lies, and the size of its images."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from minivit.data.cifar import cifar_splits
from minivit.data.dataset import Splits
from minivit.data.folder import folder_splits
from minivit.data.shapes import shapes_splits
from minivit.errors import MinivitError, nearest
from minivit.files import expanded

DatasetName = Literal["shapes", "cifar10", "cifar100", "folder"]
DATASETS = get_args(DatasetName)
DEFAULT_SIZE = (32, 32)


def load(dataset: str, data_dir: str | Path | None = None, image_size: tuple[int, int] | None = None) -> Splits:
    """Return the splits of "shapes", "cifar10", "cifar100" or "folder", of images (N, 3, H, W).

    shapes             drawn on the spot, of any square size; takes no data_dir
    cifar10, cifar100  read from data_dir, or downloaded once if that is None; always 32x32
    folder             data_dir/train/<class>/ and so on, resized to image_size (H, W)

    image_size None means 32x32. Raises MinivitError for anything that cannot be done or read.
    """
    if dataset not in DATASETS:
        raise MinivitError(
            f"dataset {dataset!r} is not known: expected one of {', '.join(DATASETS)}.{nearest(dataset, DATASETS)}"
        )
    height, width = DEFAULT_SIZE if image_size is None else image_size
    if height < 1 or width < 1:
        raise MinivitError(f"the image size is {height}x{width}; expected 1x1 or more, such as 32x32")
    try:
        return _splits(dataset, None if data_dir is None else _checked(Path(data_dir)), height, width)
    except OSError as error:
        what = error.filename or data_dir or dataset
        mend = "; check that you may" if isinstance(error, PermissionError) else ""
        raise MinivitError(f"{what} cannot be read ({error.strerror or error}){mend}") from error


def _splits(dataset: str, folder: Path | None, height: int, width: int) -> Splits:
    if dataset == "folder":
        if folder is None:
            raise MinivitError("the dataset 'folder' needs a folder of pictures: pass it with --data-dir FOLDER")
        return folder_splits(folder, (height, width))
    if dataset == "shapes":
        if folder is not None:
            raise MinivitError(
                f"the dataset 'shapes' is drawn, not read from {folder}: omit --data-dir, or choose another --dataset"
            )
        if height != width:
            raise MinivitError(f"the images of 'shapes' are square, not {height}x{width}: choose equal sides")
        return shapes_splits(size=height)
    if (height, width) != DEFAULT_SIZE:
        raise MinivitError(
            f"the images of {dataset!r} are 32x32, not {height}x{width}: choose the image size 32x32, or"
            " another --dataset"
        )
    return cifar_splits(dataset, folder)


def _checked(folder: Path) -> Path:
    """Return `folder` with ~ expanded; raises MinivitError unless it is a folder that is there."""
    folder = expanded(folder)
    if not folder.exists():
        raise MinivitError(f"the data folder {folder} does not exist: pass where the images lie with --data-dir")
    if not folder.is_dir():
        raise MinivitError(
            f"the data folder {folder} is a file: expected a folder, so pass the one it lies in as --data-dir"
        )
    return folder
