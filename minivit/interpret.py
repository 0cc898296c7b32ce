"""Looking inside a trained model: where it attends, how far, and what its first layer and its positions hold.

    rollout = A_L ... A_2 A_1,   A_l = (mean over heads of p_l + I) / 2         attention through all blocks
    distance = sum_j p_ij |i - j|                                               how far a head looks, in pixels

All functions take arrays of a forward pass or parameters; nothing is trained or changed.

Source: Dosovitskiy et al. 2020 (arXiv:2010.11929), section 4.5, figures 6 and 7, App. D.7 and D.8; Abnar & Zuidema
2020 (arXiv:2005.00928), section 3 (rollout).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from minivit.arrays import Array, array_module, cast, wide
from minivit.functions.patches import Size


def attention_rollout(maps: Iterable[Array]) -> Array:
    """How much each token of the last block draws from each token of the first: (B, T, T), rows sum to 1.

    maps: the attention probabilities (B, K, T, T) of each block in order, as `minivit.attention_maps` gives
    them. Half of each step stays with the token itself, for the residual sum. Raises ValueError without maps, or
    where their shapes differ.
    """
    maps = list(maps)
    if not maps or any(p.ndim != 4 or p.shape[2] != p.shape[3] or p.shape != maps[0].shape for p in maps):
        shapes = ", ".join(str(p.shape) for p in maps) or "none"
        raise ValueError(f"attention_rollout: maps need one shape (B, K, T, T) in every block, got {shapes}")
    xp = array_module(maps[0])
    identity = xp.eye(maps[0].shape[-1], dtype=wide(maps[0]).dtype)
    rollout = identity[None, :, :]
    for p in maps:
        step = xp.mean(wide(p), axis=1) + identity
        step /= xp.sum(step, axis=-1, keepdims=True)
        rollout = step @ rollout
    return cast(rollout, maps[0].dtype)


def rollout_images(maps: Iterable[Array], grid: Size) -> Array:
    """The rollout onto the patches as pictures (B, rows, columns), for a grid (rows, columns) of patches.

    With a class token it is that token's row, else the mean over all tokens: what the classifier read. The
    class token's own share is left out; each picture sums to 1, but for one of zeros where nothing else was read.
    Raises ValueError if the maps do not fit the grid.
    """
    rollout = attention_rollout(maps)
    first = _class_tokens(rollout.shape[-1], grid, "rollout_images")
    xp = array_module(rollout)
    drawn = wide(rollout[:, 0, 1:]) if first else xp.mean(wide(rollout), axis=1)
    drawn = _over(drawn, xp.sum(drawn, axis=-1, keepdims=True))
    return cast(xp.reshape(drawn, (-1, *grid)), rollout.dtype)


def attention_distance(p: Array, grid: Size, patch_size: Size) -> Array:
    """How far each head of p (B, K, T, T) looks on average, in pixels: (K,).

    The mean over images and patches of the distance between patch centres, weighted by attention. The class
    token has no place and is left out, and each row is scaled to 1 without it; one that attends to nothing else
    counts as distance 0. Raises ValueError if p is not (B, K, T, T), or T neither the number of patches nor one more.
    """
    if p.ndim != 4 or p.shape[2] != p.shape[3]:
        raise ValueError(f"attention_distance: p {p.shape} needs the axes (B, K, T, T)")
    first = _class_tokens(p.shape[-1], grid, "attention_distance")
    xp = array_module(p)
    among = wide(p[:, :, first:, first:])
    among = _over(among, xp.sum(among, axis=-1, keepdims=True))
    distance = xp.astype(_distances(xp, grid, patch_size), among.dtype)
    return cast(xp.mean(xp.sum(among * distance, axis=-1), axis=(0, 2)), p.dtype)


def position_similarity(positions: Array, grid: Size) -> Array:
    """Cosine similarity of each position embedding with every other: (rows, columns, rows, columns).

    positions (T, D) for a grid (rows, columns) of patches; the class token's, if there is one, is left out.
    A position of zeros is similar to none. Raises ValueError if positions is not (T, D), or T does not fit the grid.
    """
    if positions.ndim != 2:
        raise ValueError(f"position_similarity: positions {positions.shape} need the axes (T, D)")
    first = _class_tokens(positions.shape[0], grid, "position_similarity")
    xp = array_module(positions)
    unit = wide(positions[first:, :])
    unit = _over(unit, xp.sqrt(xp.sum(unit * unit, axis=-1, keepdims=True)))
    return cast(xp.reshape(unit @ unit.T, (*grid, *grid)), positions.dtype)


def filter_components(patch_weight: Array, patch_size: Size, count: int) -> tuple[Array, Array]:
    """The first principal components of the embedding filters: pictures (count, C, P, P) and variance shares (count,).

    patch_weight (P*P*C, D) holds a filter in each column. A component is a unit vector of which the filters are
    mostly made; its sign means nothing. float32 or wider. Raises ValueError unless 1 <= count <= min(P*P*C, D), or
    where the patch does not divide the filters or all filters are equal.
    """
    values, width = patch_weight.shape
    if values % (patch_size[0] * patch_size[1]):
        raise ValueError(
            f"filter_components: filters of {values} numbers are no colours of patches of {patch_size} (height, width)"
        )
    if not 1 <= count <= min(values, width):
        raise ValueError(f"filter_components: count is {count}; expected 1 to {min(values, width)}")
    xp = array_module(patch_weight)
    if bool(xp.all(patch_weight == patch_weight[:, :1])):  # their mean is rounded, and would leave roundings
        raise ValueError(f"filter_components: the {width} filters are all equal, so they have no components")
    centred = wide(patch_weight) - xp.mean(wide(patch_weight), axis=1, keepdims=True)
    components, sizes, _ = xp.linalg.svd(centred, full_matrices=False)
    pictures = xp.reshape(components[:, :count].T, (count, *patch_size, -1))
    return xp.permute_dims(pictures, (0, 3, 1, 2)), (sizes * sizes / xp.sum(sizes * sizes))[:count]


def _over(x: Array, total: Array) -> Array:
    """x / total, and 0 where total is 0."""
    xp = array_module(x)
    return x / xp.where(total > 0, total, xp.ones_like(total))


def _class_tokens(tokens: int, grid: Size, name: str) -> int:
    """1 if there is a class token before the patches, else 0."""
    first = tokens - grid[0] * grid[1]
    if first not in (0, 1):
        raise ValueError(
            f"{name}: {tokens} tokens do not fit a grid of {grid} (rows, columns); expected {grid[0] * grid[1]}, or "
            "one more with a class token"
        )
    return first


def _distances(xp: Any, grid: Size, patch_size: Size) -> Array:
    """Distances (N, N) in pixels between the centres of the patches."""
    rows, columns = np.divmod(np.arange(grid[0] * grid[1]), grid[1])
    down = (rows[:, None] - rows[None, :]) * patch_size[0]
    across = (columns[:, None] - columns[None, :]) * patch_size[1]
    return xp.asarray(np.hypot(down, across))
