"""PyTorch's attention at its best: scaled_dot_product_attention has several ways, and which is fastest differs."""

from __future__ import annotations

import contextlib
import functools
import warnings
from typing import Any

from minivit.bench.timing import median_seconds
from minivit.bench.workload import Workload

_ROUNDS = 9


@functools.cache  # measured once: both the eager and the compiled model take the same
def fastest_attention(workload: Workload) -> Any:
    """The way, a torch.nn.attention.SDPBackend, that takes a workload there and back in the least time.

    None where no fused one takes it: PyTorch chooses then.
    """
    import torch
    from torch.nn.attention import SDPBackend

    config = workload.config
    shape = (workload.batch, config.tokens, 3, config.heads, config.width // config.heads)
    dtype = torch.bfloat16 if workload.settings.precision == "bfloat16" else torch.float32
    qkv: Any = torch.randn(shape, dtype=dtype, device=workload.device, requires_grad=True)
    dy: Any = torch.randn((workload.batch, config.tokens, *shape[3:]), dtype=dtype, device=workload.device)

    def there_and_back() -> None:
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # as it lies in the model
        y = torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        torch.autograd.grad(y, qkv, dy)
        if workload.device == "cuda":
            torch.cuda.synchronize()

    seconds = {}
    for way in (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION, SDPBackend.EFFICIENT_ATTENTION):
        with contextlib.suppress(RuntimeError), warnings.catch_warnings(), by(way):
            warnings.simplefilter("ignore")  # it says why it does not take this type, or runs on this machine
            seconds[way] = median_seconds(there_and_back, _ROUNDS)
    return min(seconds, key=lambda way: seconds[way]) if seconds else None


def by(way: Any) -> contextlib.AbstractContextManager[Any]:
    """Inside, PyTorch computes attention in this way; with None as it chooses."""
    from torch.nn.attention import sdpa_kernel

    return contextlib.nullcontext() if way is None else sdpa_kernel(way)
