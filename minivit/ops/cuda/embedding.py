"""Twins of the class token and the positions: an image's tokens side by side are one row of a matrix."""

from __future__ import annotations

import numpy as np

from minivit import functions as fn
from minivit.arrays import Array, array_module, cast
from minivit.functions.embedding import EmbeddingCache
from minivit.ops.cuda.launch import Columns, aligned, column_sums, stored


def prepend_class_token(x: Array, token: Array) -> tuple[Array, EmbeddingCache]:
    """Twin of `functions.prepend_class_token`: x (B, N, D), token (D,)."""
    if x.ndim != 3 or token.shape != x.shape[-1:] or not stored(x, token):
        return fn.prepend_class_token(x, token)
    batch, tokens, width = x.shape
    y = array_module(x).empty((batch, tokens + 1, width), dtype=x.dtype)
    rows = y.reshape(batch, -1)
    Columns(rows, width=width).change("prepend", [x, token, np.int32(width)], (rows,))
    return y, EmbeddingCache()


def prepend_class_token_backward(dy: Array, cache: EmbeddingCache) -> tuple[Array, Array]:
    """Twin of `functions.prepend_class_token_backward`: dy (B, N + 1, D).

    dx (B, N, D) is no view of dy: products need it contiguous.
    """
    dx, dtoken = fn.prepend_class_token_backward(dy, cache)
    if not stored(dy):
        return dx, dtoken
    batch, _, width = dy.shape
    rows = array_module(dy).empty((batch, dx.size // batch), dtype=dy.dtype)
    Columns(rows, width=width).change("without_first", [dy, np.int32(width)], (rows,))
    return rows.reshape(dx.shape), dtoken


def add_positions(x: Array, positions: Array) -> tuple[Array, EmbeddingCache]:
    """Twin of `functions.add_positions`: x (B, T, D), positions (T, D)."""
    table = aligned(cast(positions, x.dtype))
    if x.ndim != 3 or table.shape != x.shape[1:] or not stored(x, table):
        return fn.add_positions(x, positions)
    y = array_module(x).empty_like(x)
    rows = y.reshape(len(x), -1)
    Columns(rows).change("add_bias", [x, table], (rows,))
    return y, EmbeddingCache()


def add_positions_backward(dy: Array, cache: EmbeddingCache) -> tuple[Array, Array]:
    """Twin of `functions.add_positions_backward`: dy (B, T, D)."""
    if not stored(dy):
        return fn.add_positions_backward(dy, cache)
    return dy, column_sums(dy.reshape(len(dy), -1)).reshape(dy.shape[1:])
