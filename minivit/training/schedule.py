"""The learning rate over a run: a straight line up, then half a cosine down.

Source: Goyal et al. 2017 (arXiv:1706.02677), section 2.2 (warm-up); Loshchilov & Hutter 2016
(arXiv:1608.03983), eq. 5 without restarts (cosine).
"""

from __future__ import annotations

import math


def learning_rate(step: int, total: int, warmup: int, peak: float, floor: float = 0.0) -> float:
    """The rate of step 0 .. total - 1: rises to `peak` over `warmup` steps, then falls towards `floor`."""
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, total - warmup)
    return floor + (peak - floor) * 0.5 * (1.0 + math.cos(math.pi * progress))
