"""Data sets of labelled images: built-in shapes, CIFAR, folders of pictures; and their augmentation.

Importing this package imports NumPy only; Pillow and tqdm are imported where they are used.
"""

from minivit.data.augment import random_crop_and_flip
from minivit.data.dataset import Dataset, Splits, channel_statistics, fingerprint, hold_out, normalise, take
from minivit.data.image import read_image
from minivit.data.load import DATASETS, load
from minivit.data.shapes import shapes, shapes_splits

__all__ = [
    "DATASETS",
    "Dataset",
    "Splits",
    "channel_statistics",
    "fingerprint",
    "hold_out",
    "load",
    "normalise",
    "random_crop_and_flip",
    "read_image",
    "shapes",
    "shapes_splits",
    "take",
]
