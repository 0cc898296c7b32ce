"""Broken backward passes of attention, with one head and with many."""

import math

import numpy as np

from minivit import functions as fn
from minivit.functions.softmax import SoftmaxCache


def attention_by(change):
    """Right but for what `change(dq, dk, dv, dy, cache)` returns."""

    def backward(dy, cache):
        return change(*fn.attention_backward(dy, cache), dy, cache)

    return backward


def attention_p_not_transposed(dq, dk, dv, dy, cache):
    return dq, dk, cache.p @ dy


def attention_without_softmax(dq, dk, dv, dy, cache):
    ds = dy @ np.swapaxes(cache.v, -1, -2) / math.sqrt(cache.q.shape[-1])
    return ds @ cache.k, np.swapaxes(ds, -1, -2) @ cache.q, dv


def attention_softmax_of_transposed(dq, dk, dv, dy, cache):
    p = np.swapaxes(cache.p, -1, -2)
    ds = fn.softmax_backward(np.swapaxes(dy @ np.swapaxes(cache.v, -1, -2), -1, -2), SoftmaxCache(p))
    ds = np.swapaxes(ds, -1, -2) / math.sqrt(cache.q.shape[-1])
    return ds @ cache.k, np.swapaxes(ds, -1, -2) @ cache.q, dv


def heads_by(change):
    """Multi-head attention with its (dqkv_weight, dqkv_bias), as (..., 3, K, D_h), rearranged."""

    def backward(dy, cache):
        dx, dw, db, dout_w, dout_b = fn.multi_head_attention_backward(dy, cache)
        width = dw.shape[0]
        dw, db = (
            change(g.reshape(*g.shape[:-1], 3, cache.heads, width // cache.heads)).reshape(g.shape) for g in (dw, db)
        )
        return dx, dw, db, dout_w, dout_b

    return backward


def heads_interleaved(g):
    """The layout (D_h, K) where (K, D_h) was meant."""
    return np.ascontiguousarray(np.swapaxes(g, -1, -2))
