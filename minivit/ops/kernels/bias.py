"""A bias: added to every row; and its gradient, the sum of all rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from minivit.ops.kernels import kernel


@kernel
def add_bias(x: Any, b: Any) -> None:
    """Add b (D,) to each row of x (N, D), in place."""
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            x[i, j] += b[j]


@kernel
def column_sums(x: Any) -> Any:
    """The sum (D,) of the rows of x (N, D)."""
    rows, width = x.shape
    sums = np.zeros(width, x.dtype)
    for i in range(rows):
        for j in range(width):
            sums[j] += x[i, j]
    return sums
