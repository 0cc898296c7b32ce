"""Builds of every kernel file that the tests compile: odd and usual sizes, each storage type."""

from minivit.ops.cuda.source import STORAGE, Build, build

SIZES = {
    "layer_norm": [{"WIDTH": 384}, {"WIDTH": 192}, {"WIDTH": 36}, {"WIDTH": 7}],
    "columns": [{"VECTOR": 4, "ERF": 0}, {"VECTOR": 4, "ERF": 1}, {"VECTOR": 1, "ERF": 0}],
    "softmax": [{"COLUMNS": 65, "STRIDE": 72}, {"COLUMNS": 5, "STRIDE": 8}, {"COLUMNS": 64, "STRIDE": 64}],
    "residual": [{}],
    "cross_entropy": [{}],
    "adamw": [{}],
    "augment": [{"CHANNELS": 3, "HEIGHT": 32, "COLUMNS": 32, "PATCH_ROWS": 4, "PATCH_COLUMNS": 4}],
}


def all_builds() -> list[Build]:
    """Every size in every storage type."""
    return [build(file, dtype, **size) for file, sizes in SIZES.items() for size in sizes for dtype in STORAGE]
