"""Writing small data sets in CIFAR's official layouts, byte for byte."""

from __future__ import annotations

import pickle
import tarfile
from pathlib import Path

import numpy as np

from minivit.arrays import Array

CLASSES = {
    "cifar10": "airplane automobile bird cat deer dog frog horse ship truck".split(),  # noqa: SIM905
    "cifar100": [f"fine {i}" for i in range(100)],
}


def random_images(count: int, classes: int, seed: int = 0) -> tuple[Array, Array]:
    """Return images (count, 3, 32, 32) uint8 and labels (count,) int64, every class in turn."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 3, 32, 32), np.uint8), np.arange(count) % classes


def write_binary(folder: Path, name: str, images: Array, labels: Array, test_images: Array, test_labels: Array) -> Path:
    """Write folder/cifar-10-batches-bin (five batches) or folder/cifar-100-binary; returns it."""
    if name == "cifar10":
        out = folder / "cifar-10-batches-bin"
        parts = [(f"data_batch_{i + 1}.bin", x, y) for i, (x, y) in enumerate(_fifths(images, labels))]
        parts.append(("test_batch.bin", test_images, test_labels))
        names_file = "batches.meta.txt"
    else:
        out = folder / "cifar-100-binary"
        parts = [("train.bin", images, labels), ("test.bin", test_images, test_labels)]
        names_file = "fine_label_names.txt"
    out.mkdir(parents=True)
    for file, x, y in parts:
        coarse = [] if name == "cifar10" else [y // 5]
        rows = np.column_stack([*coarse, y, x.reshape(len(x), -1)]).astype(np.uint8)
        (out / file).write_bytes(rows.tobytes())
    (out / names_file).write_text("\n".join(CLASSES[name]) + "\n\n")
    return out


def write_python(folder: Path, name: str, images: Array, labels: Array, test_images: Array, test_labels: Array) -> Path:
    """Write folder/cifar-10-batches-py (five batches) or folder/cifar-100-python; returns it."""
    names = [c.encode() for c in CLASSES[name]]
    if name == "cifar10":
        out = folder / "cifar-10-batches-py"
        parts = [(f"data_batch_{i + 1}", x, y) for i, (x, y) in enumerate(_fifths(images, labels))]
        parts.append(("test_batch", test_images, test_labels))
        names_file, meta = "batches.meta", {b"label_names": names}
    else:
        out = folder / "cifar-100-python"
        parts = [("train", images, labels), ("test", test_images, test_labels)]
        names_file, meta = "meta", {b"fine_label_names": names}
    out.mkdir(parents=True)
    for file, x, y in parts:
        key = b"labels" if name == "cifar10" else b"fine_labels"
        batch = {b"data": x.reshape(len(x), -1), key: y.tolist(), b"batch_label": file.encode()}
        (out / file).write_bytes(pickle.dumps(batch, protocol=2))
    (out / names_file).write_bytes(pickle.dumps(meta, protocol=2))
    return out


def pack(folder: Path, archive: Path) -> Path:
    """Write `folder` and its files as the .tar.gz `archive`; returns it."""
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, folder.name)
    return archive


def _fifths(images: Array, labels: Array) -> list[tuple[Array, Array]]:
    return list(zip(np.array_split(images, 5), np.array_split(labels, 5), strict=True))
