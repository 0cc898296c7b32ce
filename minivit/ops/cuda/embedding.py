"""Twin of the positions' gradient: a sum over the batch, as wide as all tokens."""

from __future__ import annotations

from minivit import functions as fn
from minivit.arrays import Array
from minivit.functions.embedding import EmbeddingCache
from minivit.ops.cuda.launch import column_sums, stored


def add_positions_backward(dy: Array, cache: EmbeddingCache) -> tuple[Array, Array]:
    """Twin of `functions.add_positions_backward`: dy (B, T, D)."""
    if not stored(dy):
        return fn.add_positions_backward(dy, cache)
    return dy, column_sums(dy.reshape(len(dy), -1)).reshape(dy.shape[1:])
