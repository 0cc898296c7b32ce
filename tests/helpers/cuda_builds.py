"""Builds of every kernel file that the tests compile: odd and usual sizes, each storage type."""

from minivit.ops.cuda.attention_in_tiles import program
from minivit.ops.cuda.source import STORAGE, Build, build

SIZES = {
    "layer_norm": [{"WIDTH": 384}, {"WIDTH": 192}, {"WIDTH": 36}, {"WIDTH": 7}],
    "columns": [{"VECTOR": 8, "ERF": 0}, {"VECTOR": 4, "ERF": 1}, {"VECTOR": 1, "ERF": 0}],
    "softmax": [{"COLUMNS": 65, "STRIDE": 72}, {"COLUMNS": 5, "STRIDE": 8}, {"COLUMNS": 64, "STRIDE": 64}],
    "residual": [{}],
    "cross_entropy": [{}],
    "adamw": [{}],
    "gather": [{"COUNT": 128}],
    "augment": [{"CHANNELS": 3, "HEIGHT": 32, "COLUMNS": 32, "PATCH_ROWS": 4, "PATCH_COLUMNS": 4}],
}


# tokens, width of a head, heads: CIFAR's sequences in two models, a tiny one, and the largest there is room for.
ATTENTION = [(65, 64, 6), (65, 64, 3), (5, 16, 2), (128, 64, 1)]


def all_builds() -> list[Build]:
    """Every size in every storage type; attention's tiles have no float64."""
    builds = [build(file, dtype, **size) for file, sizes in SIZES.items() for size in sizes for dtype in STORAGE]
    return builds + [program(*size, dtype) for size in ATTENTION for dtype in ("bfloat16", "float32")]
