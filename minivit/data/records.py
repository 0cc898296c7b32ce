"""The contents of CIFAR's batch files, in their two layouts.

    binary   records of 3073 bytes (CIFAR-10: label, pixels) or 3074 (CIFAR-100: coarse, fine, pixels)
    python   a pickled dict: "data" (N, 3072) uint8 and "labels" or "fine_labels", a list of N integers

The 3072 pixels are an image (3, 32, 32): red, green and blue, each row by row.
Source: Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minivit.arrays import Array
from minivit.data.unpickle import unpickle
from minivit.errors import MinivitError

PIXELS = 3 * 32 * 32


def parse_binary(blob: bytes, where: str, label_bytes: int, classes: int, most: int) -> tuple[Array, Array]:
    """Return (images (N, 3, 32, 32) uint8, labels (N,) int64); the label is the last of `label_bytes`.

    Raises MinivitError unless `blob` holds 1 to `most` whole records with labels below `classes`.
    """
    record = label_bytes + PIXELS
    if len(blob) % record or not 0 < len(blob) <= most * record:
        raise MinivitError(
            f"{where} has {len(blob)} bytes, {len(blob) / record:.2f} records of {record}: expected 1 to"
            f" {most} whole records, so the file is cut off or not the official one; download it again"
        )
    rows = np.frombuffer(blob, np.uint8).reshape(-1, record)
    labels = rows[:, label_bytes - 1].astype(np.int64)
    _check_labels(labels, where, classes)
    return rows[:, label_bytes:].reshape(-1, 3, 32, 32), labels


def parse_python(blob: bytes, where: str, label_key: str, classes: int, most: int) -> tuple[Array, Array]:
    """Return (images (N, 3, 32, 32) uint8, labels (N,) int64) of a pickled batch.

    Raises MinivitError unless it holds 1 to `most` images and as many labels below `classes`.
    """
    batch = unpickle(blob, where)
    for key in ("data", label_key):
        if key not in batch:
            known = ", ".join(repr(k[:40]) for k in list(batch)[:8]) or "nothing"
            raise MinivitError(
                f"{where} has no {key!r}, only {known}: expected the data set's batch file, so check that"
                " the data set's name and its files belong together"
            )
    data = batch["data"]
    if not _is_pixels(data):
        what = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else f"a {type(data).__name__}"
        _refuse(where, f"'data' that is {what}", f"uint8 (N, {PIXELS})")
    if not 0 < len(data) <= most:
        _refuse(where, f"{len(data)} images", f"1 to {most}")
    labels = _integers(batch[label_key], where, label_key)
    if len(labels) != len(data):
        _refuse(where, f"{len(labels)} labels for {len(data)} images", "one label an image")
    _check_labels(labels, where, classes)
    return data.reshape(-1, 3, 32, 32), labels


def _is_pixels(data: Any) -> bool:
    return isinstance(data, np.ndarray) and data.dtype == np.uint8 and data.shape[1:] == (PIXELS,)


def _refuse(where: str, what: str, expected: str) -> None:
    raise MinivitError(f"{where} holds {what}: expected {expected}, so it is not the official file; download it again")


def _integers(values: Any, where: str, key: str) -> Array:
    """Return a list of integers, or an array of them (N,), as (N,) int64."""
    if isinstance(values, np.ndarray) and values.ndim == 1:
        return values.astype(np.int64)
    if not isinstance(values, list) or not all(type(v) is int and abs(v) < 2**63 for v in values):
        _refuse(where, f"{key!r} that is not a list of integers", "one small integer an image")
    return np.array(values, np.int64)


def _check_labels(labels: Array, where: str, classes: int) -> None:
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        raise MinivitError(
            f"{where}: record {wrong[0]} has label {labels[wrong[0]]}, expected 0 to {classes - 1}, so the"
            " file is damaged or of another data set; download it again"
        )
