"""Layer normalisation, a row at a time while it is in the cache; see `minivit.functions.layer_norm`."""

from __future__ import annotations

from typing import Any

import numpy as np

from minivit.ops.kernels import kernel


@kernel
def layer_norm_rows(x: Any, g: Any, b: Any, eps: float, y: Any, mean: Any, rstd: Any) -> None:
    """y (N, D) = normalised x (N, D) times g (D,) plus b (D,); mean (N,) and rstd (N,) are filled."""
    rows, width = x.shape
    real = x.dtype.type
    one, share = real(1.0), real(1.0 / width)
    for i in range(rows):
        total = real(0.0)
        for j in range(width):
            total += x[i, j]
        m = total * share
        total = real(0.0)
        for j in range(width):  # of the centred numbers: E[x^2] - E[x]^2 loses all digits far from 0
            total += (x[i, j] - m) * (x[i, j] - m)
        r = one / np.sqrt(total * share + real(eps))
        for j in range(width):
            y[i, j] = (x[i, j] - m) * r * g[j] + b[j]
        mean[i] = m
        rstd[i] = r


@kernel
def layer_norm_rows_backward(dy: Any, x: Any, g: Any, mean: Any, rstd: Any, more: Any, dx: Any) -> Any:
    """dx (N, D) is filled for dy (N, D), plus `more` (N, D) if it is not None; returns sums (2, D): dg and db."""
    rows, width = x.shape
    real = x.dtype.type
    share = real(1.0 / width)
    sums = np.zeros((2, width), x.dtype)
    for i in range(rows):
        m, r = mean[i], rstd[i]
        along_1 = along_u = real(0.0)
        for j in range(width):
            u = (x[i, j] - m) * r
            du = dy[i, j] * g[j]
            along_1 += du
            along_u += du * u
            sums[0, j] += dy[i, j] * u
            sums[1, j] += dy[i, j]
        along_1 *= share
        along_u *= share
        for j in range(width):
            u = (x[i, j] - m) * r
            dx[i, j] = r * (dy[i, j] * g[j] - along_1 - u * along_u)
        if more is not None:
            for j in range(width):
                dx[i, j] += more[i, j]
    return sums
