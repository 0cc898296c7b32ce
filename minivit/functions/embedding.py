"""What is added to the patch tokens: a class token in front, and a position for each.

    class token      z = [c; x_1; ...; x_N]       dc = sum of dz_0 over the batch
    position         y = z + p                    dp = sum of dy over the batch

Every image shares c and p, so their gradients add up over the batch. Without positions the model could
not tell one arrangement of the patches from another.

Source: Dosovitskiy et al. 2020 (arXiv:2010.11929), eq. 1; fixed 2-D positions as in Beyer et al. 2022
(arXiv:2205.01580).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minivit.arrays import Array, array_module, cast, require_floats, wide


class EmbeddingCache(NamedTuple):
    """What the backward passes of this file need: nothing but the gradient itself."""


def prepend_class_token(x: Array, token: Array) -> tuple[Array, EmbeddingCache]:
    """Put token (D,) in front of x (B, N, D). Returns y (B, N + 1, D) like x, and the cache.

    Raises ValueError if x is not 3-D or the widths differ.
    """
    if x.ndim != 3 or token.shape != x.shape[-1:]:
        raise ValueError(
            f"prepend_class_token: x {x.shape} needs 3 axes and a token of shape {x.shape[-1:]}, got {token.shape}"
        )
    require_floats(x)
    xp = array_module(x)
    first = xp.broadcast_to(cast(token, x.dtype), (x.shape[0], 1, x.shape[2]))
    return xp.concat((first, x), axis=1), EmbeddingCache()


def prepend_class_token_backward(dy: Array, cache: EmbeddingCache) -> tuple[Array, Array]:
    """Gradients (dx, dtoken) for dy (B, N + 1, D): dx (B, N, D) a view of dy, dtoken float32 or wider."""
    return dy[:, 1:, :], array_module(dy).sum(wide(dy[:, 0, :]), axis=0)


def add_positions(x: Array, positions: Array) -> tuple[Array, EmbeddingCache]:
    """Add positions (T, D) to x (B, T, D). Returns y like x, and the cache.

    Raises ValueError if x is not 3-D or the shapes differ.
    """
    if x.ndim != 3 or positions.shape != x.shape[1:]:
        raise ValueError(
            f"add_positions: x {x.shape} needs 3 axes and positions of shape {x.shape[1:]}, got {positions.shape}"
        )
    require_floats(x)
    return x + cast(positions, x.dtype), EmbeddingCache()


def add_positions_backward(dy: Array, cache: EmbeddingCache) -> tuple[Array, Array]:
    """Gradients (dx, dpositions) for dy (B, T, D): dx is dy itself, dpositions float32 or wider."""
    return dy, array_module(dy).sum(wide(dy), axis=0)


def sincos_positions(grid: tuple[int, int], width: int, temperature: float = 10_000.0) -> Array:
    """Fixed positions (N, D) in float64 for a grid (rows, columns) of patches and a width D.

    A quarter of the width each for sin and cos of the column, then of the row, with wavelengths from
    2 pi to 2 pi * temperature. Raises ValueError if D is not a multiple of 4, at least 8.
    """
    if width % 4 or width < 8:
        raise ValueError(f"sincos_positions: width {width} is not a multiple of 4, at least 8")
    rows, columns = np.divmod(np.arange(grid[0] * grid[1]), grid[1])
    quarter = width // 4
    frequency = temperature ** (-np.arange(quarter) / (quarter - 1))
    across, down = columns[:, None] * frequency, rows[:, None] * frequency
    return np.concatenate([np.sin(across), np.cos(across), np.sin(down), np.cos(down)], axis=1)
