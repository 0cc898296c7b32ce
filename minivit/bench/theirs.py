"""PyTorch's side of a measurement: the same model (torch_model.py), with the same weights.

It gets its best settings: scaled_dot_product_attention, the fused AdamW, gradients set to None, and as many
threads as minivit; on a GPU TF32 or autocast to bfloat16, the attention that is fastest at this size, cuDNN's own
measurements, and torch.compile's max-autotune. What is compiled is the model, without loss, clipping and AdamW.

Autocast is how PyTorch is trained in bfloat16, but not quite what minivit does: it keeps the residual stream and the
layer norms' results in float32, where minivit keeps them in bfloat16, and so moves more bytes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from minivit.bench.sides import Theirs
from minivit.bench.torch_attention import by, fastest_attention
from minivit.bench.workload import Workload
from minivit.errors import MinivitError
from minivit.threads import cores
from minivit.training.settings import TrainSettings


def theirs(workload: Workload, compiled: bool = False) -> Theirs:
    """PyTorch on a workload; with `compiled`, through torch.compile.

    Raises MinivitError without PyTorch, and for an optimiser that is not AdamW.
    """
    try:
        import torch

        from minivit.bench.torch_model import TorchViT
    except ImportError as error:
        raise MinivitError(f'--against torch needs PyTorch ({error}); pip install -e ".[torch]"') from error
    settings = workload.settings
    if settings.optimizer != "adamw":
        raise MinivitError(f"--against torch compares AdamW, but optimizer is {settings.optimizer!r}; choose adamw")
    on_gpu, precision = workload.device == "cuda", settings.precision
    _set_up(settings, on_gpu)
    model = TorchViT(workload.config, workload.params()).to(workload.device)
    run = torch.compile(model, mode="max-autotune" if on_gpu else "default") if compiled else model

    attention = fastest_attention(workload) if on_gpu else None

    @contextlib.contextmanager
    def best() -> Iterator[None]:
        with torch.autocast(workload.device, torch.bfloat16, enabled=precision == "bfloat16"), by(attention):
            yield

    images, labels = (torch.from_numpy(x).to(workload.device) for x in (workload.images(), workload.labels()))
    optimizer = _adamw(model, settings)

    def wait() -> None:
        if on_gpu:
            torch.cuda.synchronize()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with best():
            loss: Any = torch.nn.functional.cross_entropy(run(images), labels)
        loss.backward()
        if settings.clip:
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        optimizer.step()
        wait()

    def forward() -> Any:
        with torch.inference_mode(), best():
            logits = run(images)
        wait()
        return logits

    return Theirs(forward, step, "" if attention is None else attention.name)


def _set_up(settings: TrainSettings, on_gpu: bool) -> None:
    """What PyTorch keeps for the whole process: threads, and how it multiplies and convolves float32."""
    import torch

    torch.set_num_threads(settings.threads or cores())
    torch.set_float32_matmul_precision("high" if on_gpu and settings.precision != "float32" else "highest")
    torch.backends.cudnn.allow_tf32 = settings.precision != "float32"
    torch.backends.cudnn.benchmark = on_gpu


def _adamw(model: Any, settings: TrainSettings) -> Any:
    """PyTorch's fused AdamW, in which weight matrices decay and nothing else, as in minivit's."""
    import torch

    decayed = {p: p.ndim > 1 and name not in ("positions", "token") for name, p in model.named_parameters()}
    groups = [
        {"params": [p for p, decays in decayed.items() if decays], "weight_decay": settings.weight_decay},
        {"params": [p for p, decays in decayed.items() if not decays], "weight_decay": 0.0},
    ]
    betas = settings.beta1, settings.beta2
    return torch.optim.AdamW(groups, lr=1e-4, betas=betas, eps=settings.adam_eps, fused=True)
