"""Looking inside a trained model: where it attends, how far, and what its first layer and its positions hold.

    rollout = A_L ... A_2 A_1,   A_l = (mean over heads of p_l + I) / 2         attention through all blocks
    distance = sum_j p_ij |i - j|                                               how far a head looks, in pixels

All functions take arrays of a forward pass or parameters; nothing is trained or changed.

Source: Dosovitskiy et al. 2020 (arXiv:2010.11929), section 4.5, figures 6 and 7, App. D.7 and D.8; Abnar & Zuidema
2020 (arXiv:2005.00928), section 3 (rollout).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minivit.arrays import Array, array_module

Pair = tuple[int, int]


def attention_rollout(maps: Sequence[Array]) -> Array:
    """How much each token of the last block draws from each token of the first: (B, T, T), rows sum to 1.

    maps: the attention probabilities (B, K, T, T) of each block in order, as `minivit.attention_maps` gives
    them. Half of each step stays with the token itself, for the residual sum. Raises ValueError without maps, or
    where their shapes differ.
    """
    if not maps or any(p.ndim != 4 or p.shape[2] != p.shape[3] or p.shape != maps[0].shape for p in maps):
        shapes = ", ".join(str(p.shape) for p in maps) or "none"
        raise ValueError(f"attention_rollout: maps need one shape (B, K, T, T) in every block, got {shapes}")
    xp = array_module(maps[0])
    identity = xp.eye(maps[0].shape[-1], dtype=maps[0].dtype)
    rollout = identity[None, :, :]
    for p in maps:
        step = xp.mean(p, axis=1) + identity
        step /= xp.sum(step, axis=-1, keepdims=True)
        rollout = step @ rollout
    return rollout


def rollout_images(maps: Sequence[Array], grid: Pair) -> Array:
    """The rollout onto the patches as pictures (B, rows, columns), for a grid (rows, columns) of patches.

    With a class token it is that token's row, else the mean over all tokens: what the classifier read. The
    class token's own share is left out; each picture sums to 1. Raises ValueError if the maps do not fit the grid.
    """
    rollout = attention_rollout(maps)
    first = _class_tokens(rollout.shape[-1], grid, "rollout_images")
    xp = array_module(rollout)
    drawn = rollout[:, 0, 1:] if first else xp.mean(rollout, axis=1)
    drawn = drawn / xp.sum(drawn, axis=-1, keepdims=True)
    return xp.reshape(drawn, (-1, *grid))


def attention_distance(p: Array, grid: Pair, patch_size: Pair) -> Array:
    """How far each head of p (B, K, T, T) looks on average, in pixels: (K,).

    The mean over images and patches of the distance between patch centres, weighted by attention. The class
    token has no place and is left out, and each row is scaled to 1 without it. Raises ValueError if T is neither
    the number of patches nor one more.
    """
    first = _class_tokens(p.shape[-1], grid, "attention_distance")
    xp = array_module(p)
    among = p[:, :, first:, first:]
    among = among / xp.sum(among, axis=-1, keepdims=True)
    distance = xp.astype(_distances(xp, grid, patch_size), p.dtype)
    return xp.mean(xp.sum(among * distance, axis=-1), axis=(0, 2))


def position_similarity(positions: Array, grid: Pair) -> Array:
    """Cosine similarity of each position embedding with every other: (rows, columns, rows, columns).

    positions (T, D) for a grid (rows, columns) of patches; the class token's, if there is one, is left out.
    Raises ValueError if T does not fit the grid.
    """
    first = _class_tokens(positions.shape[0], grid, "position_similarity")
    xp = array_module(positions)
    unit = positions[first:, :]
    unit = unit / xp.sqrt(xp.sum(unit * unit, axis=-1, keepdims=True))
    return xp.reshape(unit @ unit.T, (*grid, *grid))


def filter_components(patch_weight: Array, patch_size: Pair, count: int) -> tuple[Array, Array]:
    """The first principal components of the embedding filters: pictures (count, C, P, P) and variance shares (count,).

    patch_weight (P*P*C, D) holds a filter in each column. A component is a unit vector of which the filters are
    mostly made; its sign means nothing. Raises ValueError unless 1 <= count <= min(P*P*C, D).
    """
    values, width = patch_weight.shape
    if not 1 <= count <= min(values, width):
        raise ValueError(f"filter_components: count is {count}; expected 1 to {min(values, width)}")
    xp = array_module(patch_weight)
    centred = patch_weight - xp.mean(patch_weight, axis=1, keepdims=True)
    components, sizes, _ = xp.linalg.svd(centred, full_matrices=False)
    pictures = xp.reshape(components[:, :count].T, (count, *patch_size, -1))
    return xp.permute_dims(pictures, (0, 3, 1, 2)), (sizes * sizes / xp.sum(sizes * sizes))[:count]


def _class_tokens(tokens: int, grid: Pair, name: str) -> int:
    """1 if there is a class token before the patches, else 0."""
    first = tokens - grid[0] * grid[1]
    if first not in (0, 1):
        raise ValueError(
            f"{name}: {tokens} tokens do not fit a grid of {grid} (rows, columns); expected {grid[0] * grid[1]}, or "
            "one more with a class token"
        )
    return first


def _distances(xp: Any, grid: Pair, patch_size: Pair) -> Array:
    """Distances (N, N) in pixels between the centres of the patches."""
    rows, columns = np.divmod(np.arange(grid[0] * grid[1]), grid[1])
    down = (rows[:, None] - rows[None, :]) * patch_size[0]
    across = (columns[:, None] - columns[None, :]) * patch_size[1]
    return xp.asarray(np.hypot(down, across))
