"""The linear layer, y = x w + b: the same matrix for every token.

    y = x w + b         dx = dy w'        dw = x' dy        db = sum of dy over all tokens

Written for one token each line is the chain rule. For a batch, dw and db add up what every token
says, because every token used the same w and b.

Source: Dosovitskiy et al. 2020 (arXiv:2010.11929), eq. 1 (z0 = xE); weights are (in, out) as there.
"""

from __future__ import annotations

from typing import NamedTuple

from minivit.arrays import Array, array_module, require_floats, transposed, wide


class LinearCache(NamedTuple):
    """What the backward pass needs."""

    x: Array  # (..., D_in)     the input itself, not a copy
    w: Array  # (D_in, D_out)   the weight itself


def linear(x: Array, w: Array, b: Array) -> tuple[Array, LinearCache]:
    """Map x (..., D_in) by w (D_in, D_out) and b (D_out,). Returns y (..., D_out) like x, and the cache.

    Raises ValueError if the shapes do not fit.
    """
    if w.ndim != 2 or b.shape != w.shape[1:] or x.shape[-1:] != w.shape[:1]:
        d_in = x.shape[-1] if x.ndim else "D_in"
        raise ValueError(
            f"linear: x {x.shape} needs w of shape ({d_in}, D_out) and b of shape (D_out,), got {w.shape} and {b.shape}"
        )
    require_floats(x)
    xp = array_module(x)
    # One tall product: with 3-D arrays NumPy would multiply image by image.
    y = xp.reshape(x, (-1, w.shape[0])) @ w
    y += b
    return xp.reshape(y, (*x.shape[:-1], w.shape[1])), LinearCache(x, w)


def linear_backward(dy: Array, cache: LinearCache) -> tuple[Array, Array, Array]:
    """Gradients (dx, dw, db) for dy (..., D_out): dx like dy; dw, db float32 or wider."""
    x, w = cache
    xp = array_module(dy)
    rows_x, rows_dy = xp.reshape(x, (-1, w.shape[0])), xp.reshape(dy, (-1, w.shape[1]))
    dx = xp.reshape(rows_dy @ transposed(w), x.shape)
    dw = transposed(wide(rows_x)) @ wide(rows_dy)
    db = xp.sum(wide(rows_dy), axis=0)
    return dx, dw, db
