"""Wrong answers to the exercises of 05."""

import math

import numpy as np

from minivit.functions import attention, softmax
from minivit.lessons.answers.n05_attention import (
    masked_attention,
    masked_attention_backward,
    merged_projection,
    merged_projection_backward,
    scaled_attention,
    scaled_attention_backward,
)


def mask_after_softmax(q, k, v, mask):
    """The row no longer sums to 1."""
    _, (_, _, _, p) = attention(q, k, v)
    p = p * mask
    return p @ v, (q, k, v, p)


def mask_with_score_0(q, k, v, mask):
    """A score of 0 is no small probability."""
    p, _ = softmax(mask * (q @ np.swapaxes(k, -1, -2)) / math.sqrt(q.shape[-1]))
    return p @ v, (q, k, v, p)


def mask_with_score_minus_5(q, k, v, mask):
    p, _ = softmax(np.where(mask, q @ np.swapaxes(k, -1, -2) / math.sqrt(q.shape[-1]), -5.0))
    return p @ v, (q, k, v, p)


def mask_without_maximum(q, k, v, mask):
    e = np.where(mask, np.exp(q @ np.swapaxes(k, -1, -2) / math.sqrt(q.shape[-1])), 0.0)
    p = e / e.sum(-1, keepdims=True)
    return p @ v, (q, k, v, p)


def mask_the_other_way_round(q, k, v, mask):
    return masked_attention(q, k, v, ~mask | np.eye(*mask.shape, dtype=bool))


def mask_forgotten_in_backward(dy, cache):
    q, k, v, _ = cache
    return masked_attention_backward(dy, (q, k, v, attention(q, k, v)[1].p))


def mask_without_scale_in_backward(dy, cache):
    dq, dk, dv = masked_attention_backward(dy, cache)
    return 2 * dq, 2 * dk, dv


def mask_with_p_not_transposed(dy, cache):
    dq, dk, dv = masked_attention_backward(dy, cache)
    p = cache[-1]
    return dq, dk, p @ dy if p.shape[-1] == p.shape[-2] else dv


def mask_by_changing_the_scores(q, k, v, mask):
    """Writes to an argument."""
    k *= 1.0 / math.sqrt(q.shape[-1])
    p, _ = softmax(np.where(mask, q @ np.swapaxes(k, -1, -2), -1e30))
    return p @ v, (q, k, v, p)


def merged_interleaved(x, w, b, heads):
    """Takes the columns for q k v of head 0, q k v of head 1, ..."""
    w4 = w.reshape(w.shape[0], heads, 3, -1)
    y = np.einsum("btd,dnzh->zbnth", x, w4) + np.moveaxis(b.reshape(heads, 3, -1), 0, 1)[:, None, :, None, :]
    return y, (x, w, heads)


def merged_dw_interleaved(dy, cache):
    x, w, _ = cache
    dx, _, db = merged_projection_backward(dy, cache)
    return dx, np.einsum("zbnth,btd->dnzh", dy, x).reshape(w.shape), db


def merged_dw_transposed(dy, cache):
    dx, dw, db = merged_projection_backward(dy, cache)
    return dx, dw.T, db


def merged_dw_not_reshaped(dy, cache):
    x, _, _ = cache
    dx, _, db = merged_projection_backward(dy, cache)
    return dx, np.einsum("zbnth,btd->dznh", dy, x), db


def merged_db_not_summed(dy, cache):
    dx, dw, _ = merged_projection_backward(dy, cache)
    return dx, dw, np.moveaxis(dy, (0, 2), (2, 3)).reshape(dy.shape[1], dy.shape[3], -1)


def merged_db_mean(dy, cache):
    dx, dw, db = merged_projection_backward(dy, cache)
    return dx, dw, db / (dy.shape[1] * dy.shape[3])


def merged_dx_of_values_only(dy, cache):
    _, dw, db = merged_projection_backward(dy, cache)
    only = np.zeros_like(dy)
    only[2] = dy[2]
    return merged_projection_backward(only, cache)[0], dw, db


def scale_not_summed(dy, cache):
    q, k, v, _, p = cache
    *others, _ = scaled_attention_backward(dy, cache)
    dp = dy @ np.swapaxes(v, -1, -2)
    return *others, p * (dp - np.sum(dp * p, axis=-1, keepdims=True)) * (q @ np.swapaxes(k, -1, -2))


def scale_without_softmax(dy, cache):
    q, k, v, _, _ = cache
    *others, _ = scaled_attention_backward(dy, cache)
    return *others, np.sum((dy @ np.swapaxes(v, -1, -2)) * (q @ np.swapaxes(k, -1, -2)))


def scale_without_scores(dy, cache):
    """Sums to 0, but for roundings."""
    _, _, v, _, p = cache
    *others, _ = scaled_attention_backward(dy, cache)
    dp = dy @ np.swapaxes(v, -1, -2)
    return *others, np.sum(p * (dp - np.sum(dp * p, axis=-1, keepdims=True)))


def scale_times_scores(dy, cache):
    """Takes the scores, which hold the scale already, in the place of q k'."""
    *others, dscale = scaled_attention_backward(dy, cache)
    return *others, cache[3] * dscale


def scale_forgotten_in_dq(dy, cache):
    dq, *others = scaled_attention_backward(dy, cache)
    return dq / cache[3], *others


def scale_by_the_root_in_dk(dy, cache):
    dq, dk, dv, dscale = scaled_attention_backward(dy, cache)
    return dq, dk / math.sqrt(dk.shape[-1]), dv, dscale


def scale_without_row_sum(dy, cache):
    q, k, v, scale, p = cache
    ds = p * (dy @ np.swapaxes(v, -1, -2))
    *_, dv, dscale = scaled_attention_backward(dy, cache)
    return scale * (ds @ k), scale * (np.swapaxes(ds, -1, -2) @ q), dv, dscale


def masked_by(score):
    """A masked score that is low, but not lower than any score may be."""

    def attempt(q, k, v, mask):
        s = q @ np.swapaxes(k, -1, -2) / math.sqrt(q.shape[-1])
        p, _ = softmax(np.where(mask, s, score))
        return p @ v, (q, k, v, p)

    return attempt


WRONG = {
    "5.1": [
        ((masked_by(-50.0), masked_attention_backward), "wrong: at"),
        ((masked_by(-100.0), masked_attention_backward), "wrong: at"),
        ((mask_after_softmax, masked_attention_backward), "right only for index 2 of axis 0"),
        ((mask_with_score_0, masked_attention_backward), "right only for index 2 of axis 0"),
        ((mask_with_score_minus_5, masked_attention_backward), "wrong: at"),
        ((mask_the_other_way_round, masked_attention_backward), "wrong: at"),
        ((masked_attention, mask_forgotten_in_backward), "right only for index 2 of axis 0 (T)"),
        ((masked_attention, mask_without_scale_in_backward), "off by the factor 2 = sqrt(D_h)"),
        ((masked_attention, mask_with_p_not_transposed), "wrong: at"),
        ((mask_without_maximum, masked_attention_backward), "exp overflows: take each row's maximum"),
        ((mask_by_changing_the_scores, masked_attention_backward), "k was changed"),
    ],
    "5.2": [
        ((merged_interleaved, merged_projection_backward), "the right numbers in another order"),
        ((merged_projection, merged_dw_interleaved), "the right numbers in another order"),
        ((merged_projection, merged_dw_transposed), "transposed"),
        ((merged_projection, merged_dw_not_reshaped), "the right numbers, to be reshaped"),
        ((merged_projection, merged_db_not_summed), "not summed over the first 2 axes"),
        ((merged_projection, merged_db_mean), "off by the factor 0.1 = 1 / (B * T)"),
        ((merged_projection, merged_dx_of_values_only), "only dy[-1] counts, of 3: not summed over axis 0 of dy"),
    ],
    "5.3": [
        ((scaled_attention, scale_not_summed), "not summed over the first 3 axes"),
        ((scaled_attention, scale_without_softmax), "wrong: it is"),
        ((scaled_attention, scale_without_scores), "wrong: it is"),
        ((scaled_attention, scale_times_scores), "off by the factor 0.7"),
        ((scaled_attention, scale_forgotten_in_dq), "off by the factor 1.42857"),
        ((scaled_attention, scale_by_the_root_in_dk), "off by the factor 0.5 = 1 / sqrt(D_h)"),
        ((scaled_attention, scale_without_row_sum), "wrong: at"),
    ],
}
