"""GELU with the bias before it, in one pass; see `minivit.functions.gelu` for the equations.

Phi is computed again in the backward pass: that is cheaper than keeping it, and half as much to remember.
(1 + tanh(u)) / 2 = 1 / (1 + exp(-2 u)), one exponential.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minivit.ops.kernels import kernel
from minivit.ops.kernels.elementary import erf, exp

_TWO_A, _C = 2.0 * math.sqrt(2.0 / math.pi), 0.044715
_SQRT_HALF, _DENSITY = math.sqrt(0.5), 1.0 / math.sqrt(2.0 * math.pi)


@kernel
def bias_gelu_tanh(x: Any, b: Any, y: Any) -> None:
    """x (N, F) += b (F,), in place; y (N, F) = gelu(x), tanh form."""
    real = x.dtype.type
    one, a, c = real(1.0), real(_TWO_A), real(_C)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            v = x[i, j] + b[j]
            x[i, j] = v
            y[i, j] = v / (one + exp(-a * v * (one + c * v * v)))


@kernel
def gelu_tanh_backward(dy: Any, x: Any) -> Any:
    """dy (N, F) becomes dx, in place, for x (N, F) after its bias; returns the sum (F,) of dx's rows."""
    rows, width = x.shape
    real = x.dtype.type
    one, three, a, c = real(1.0), real(3.0), real(_TWO_A), real(_C)
    sums = np.zeros(width, x.dtype)
    for i in range(rows):
        for j in range(width):
            v = x[i, j]
            s = c * v * v
            phi = one / (one + exp(-a * v * (one + s)))
            slope = phi + v * phi * (one - phi) * a * (one + three * s)
            d = dy[i, j] * slope
            dy[i, j] = d
            sums[j] += d
    return sums


@kernel
def bias_gelu_erf(x: Any, b: Any, y: Any) -> None:
    """x (N, F) += b (F,), in place; y (N, F) = gelu(x), erf form."""
    real = x.dtype.type
    half, root = real(0.5), real(_SQRT_HALF)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            v = x[i, j] + b[j]
            x[i, j] = v
            y[i, j] = v * (half + half * erf(v * root))


@kernel
def gelu_erf_backward(dy: Any, x: Any) -> Any:
    """dy (N, F) becomes dx, in place, for x (N, F) after its bias; returns the sum (F,) of dx's rows."""
    rows, width = x.shape
    real = x.dtype.type
    half, root, density = real(0.5), real(_SQRT_HALF), real(_DENSITY)
    sums = np.zeros(width, x.dtype)
    for i in range(rows):
        for j in range(width):
            v = x[i, j]
            slope = half + half * erf(v * root) + v * density * exp(-half * v * v)
            d = dy[i, j] * slope
            dy[i, j] = d
            sums[j] += d
    return sums
