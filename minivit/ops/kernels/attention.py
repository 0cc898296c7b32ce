"""What attention does between its matrix products; see `minivit.functions.attention`.

The heads are laid out one after another, (B K, T, D_h), so that each product is one of whole matrices.
"""

from __future__ import annotations

from typing import Any

from minivit.ops.kernels import kernel
from minivit.ops.kernels.elementary import exp


@kernel
def split_heads(x: Any, b: Any, out: Any) -> None:
    """out (P, B, K, T, D_h) = the heads of x (B, T, P D) plus b (P D,); P is 3 for queries, keys and values."""
    count, batch, heads, tokens, head_width = out.shape
    for n in range(batch):
        for which in range(count):
            for k in range(heads):
                first = (which * heads + k) * head_width
                for t in range(tokens):
                    for j in range(head_width):
                        out[which, n, k, t, j] = x[n, t, first + j] + b[first + j]


@kernel
def merge_heads(part: Any, out: Any, first: int) -> None:
    """out[..., first : first + D] of (B, T, ...) = part (B, K, T, D_h), head beside head."""
    batch, heads, tokens, head_width = part.shape
    for n in range(batch):
        for k in range(heads):
            start = first + k * head_width
            for t in range(tokens):
                for j in range(head_width):
                    out[n, t, start + j] = part[n, k, t, j]


@kernel
def softmax_rows(s: Any, scale: float) -> None:
    """s (N, T) becomes softmax(scale * s) over each row, in place."""
    rows, width = s.shape
    real = s.dtype.type
    factor = real(scale)
    for i in range(rows):
        largest = s[i, 0]
        for j in range(width):
            largest = max(largest, s[i, j])
        total = real(0.0)
        for j in range(width):
            e = exp((s[i, j] - largest) * factor)
            s[i, j] = e
            total += e
        share = real(1.0) / total
        for j in range(width):
            s[i, j] *= share


@kernel
def softmax_rows_backward(dp: Any, p: Any, scale: float) -> None:
    """dp (N, T) becomes the gradient of the scores before scaling, in place, for probabilities p (N, T)."""
    rows, width = p.shape
    real = p.dtype.type
    factor = real(scale)
    for i in range(rows):
        total = real(0.0)
        for j in range(width):
            total += dp[i, j] * p[i, j]
        for j in range(width):
            dp[i, j] = factor * p[i, j] * (dp[i, j] - total)
