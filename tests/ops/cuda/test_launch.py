"""Launches: grids for matrices of any shape, and many arrays in one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minivit.ops.cuda import launch as launching
from minivit.ops.cuda.gather import gather


def test_grids_of_tall_and_wide_matrices(xp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    grids: list[tuple[int, ...]] = []
    monkeypatch.setattr(launching, "launch", lambda program, kernel, grid, *_: grids.append(grid))
    tall, wide = (launching.Columns(xp.zeros(shape, dtype=np.float32)) for shape in ((2, 8), (3, 64 * 4 * 3000)))
    tall.rows = 10**6
    for columns in (tall, wide):
        columns.change("add_bias", [], ())
        columns.sums("column_sums", [])
    assert grids[0] == (1, 65535), "a grid's second dimension ends there"
    assert (3000, 1) in grids, "and every column has a block"
    assert all(down >= 1 for _, *rest in grids for down in rest)


def test_arrays_of_numpys_are_refused(xp: Any) -> None:
    """CuPy takes one of a single number for that number: a kernel would read wherever it points."""
    with pytest.raises(AttributeError):
        launching.sum_rows(np.ones((1, 1), np.float32))
    assert not launching.stored(np.ones(4, np.float32))
    assert not launching.stored(xp.zeros(4, dtype=np.float32), np.ones(4, np.float32))


def test_gather_takes_more_arrays_than_a_launch(xp: Any) -> None:
    buffer = xp.zeros(16 * 300, dtype=np.float64)
    views = [buffer[16 * i : 16 * i + 1 + i % 9] for i in range(300)]
    # One of another type, and one that is not contiguous, go there, too.
    arrays = [xp.asarray(np.full(len(v), i, np.float32 if i == 7 else np.float64)) for i, v in enumerate(views)]
    arrays[20] = xp.asarray(np.full((len(views[20]), 2), [20.0, -1.0]))[:, 0]
    for add, times in ((False, 1), (True, 2)):
        gather(buffer, views, arrays, add)
        assert all((view.get() == times * i).all() for i, view in enumerate(views))
    assert float(buffer.sum()) == sum(2 * i * len(v) for i, v in enumerate(views)), "nothing in between was touched"
    with pytest.raises(ValueError, match="needs arrays of its views' shapes"):
        gather(buffer, views[:1], [xp.zeros(2)], False)
