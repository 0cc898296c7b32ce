"""Gradients of all tensors into the flat buffer: one launch in place of a copy for each."""

from __future__ import annotations

import numpy as np

from minivit.arrays import Array, array_module, cast
from minivit.ops.cuda.launch import launch
from minivit.ops.cuda.source import build

_COUNT = 128  # arrays of a launch
_THREADS, _ACROSS = 256, 64
PIECES = np.dtype([("from", np.uint64, _COUNT), ("start", np.int64, _COUNT), ("size", np.int64, _COUNT)])


def gather(buffer: Array, views: list[Array], arrays: list[Array], add: bool) -> None:
    """Copy arrays, one for each of `views` into `buffer` (size,) and of its shape; or add them where `add` is true."""
    if buffer.dtype not in (np.float32, np.float64) or [x.shape for x in arrays] != [v.shape for v in views]:
        raise ValueError(f"gather: a float32 or float64 buffer needs arrays of its views' shapes, got {buffer.dtype}")
    xp, first = array_module(buffer), buffer.data.ptr  # type: ignore[attr-defined]
    given = [xp.ascontiguousarray(cast(x, buffer.dtype)) for x in arrays]
    for i in range(0, len(views), _COUNT):
        into, some = views[i : i + _COUNT], given[i : i + _COUNT]
        pieces = np.zeros((), PIECES)
        pieces["from"][: len(some)] = [x.data.ptr for x in some]
        pieces["start"][: len(some)] = [(view.data.ptr - first) // buffer.itemsize for view in into]  # type: ignore[attr-defined]
        pieces["size"][: len(some)] = [x.size for x in some]
        program = build("gather", buffer.dtype, COUNT=_COUNT)
        across = min(_ACROSS, -(-max(x.size for x in some) // _THREADS))
        launch(program, "gather", (across, len(some)), _THREADS, [buffer, pieces, np.int32(add)])
