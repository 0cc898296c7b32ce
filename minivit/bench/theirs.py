"""PyTorch's side of a measurement: the same model from PyTorch's own layers, with the same weights.

It gets its best settings: scaled_dot_product_attention, the fused AdamW, gradients set to None, and as many
threads as minivit; on a GPU TF32, or autocast to bfloat16, as minivit, and torch.compile's max-autotune.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minivit.arrays import Array
from minivit.bench.sides import Theirs
from minivit.bench.workload import Workload
from minivit.errors import MinivitError
from minivit.model import ViTConfig, named
from minivit.model.vit import position_table
from minivit.threads import cores
from minivit.training.settings import TrainSettings


def theirs(workload: Workload, compiled: bool = False) -> Theirs:
    """PyTorch on a workload; with `compiled`, through torch.compile.

    Raises MinivitError without PyTorch, and for an optimiser that is not AdamW.
    """
    try:
        import torch
    except ImportError as error:
        raise MinivitError(f'--against torch needs PyTorch ({error}); pip install -e ".[torch]"') from error
    settings = workload.settings
    if settings.optimizer != "adamw":
        raise MinivitError(f"--against torch compares AdamW, but optimizer is {settings.optimizer!r}; choose adamw")
    torch.set_num_threads(settings.threads or cores())
    model = _model(workload).to(workload.device)
    on_gpu, precision = workload.device == "cuda", settings.precision
    torch.set_float32_matmul_precision("high" if on_gpu and precision != "float32" else "highest")
    torch.backends.cudnn.allow_tf32 = precision != "float32"
    run = torch.compile(model, mode="max-autotune" if on_gpu else "default") if compiled else model

    def autocast() -> Any:
        return torch.autocast(workload.device, torch.bfloat16, enabled=precision == "bfloat16")

    images, labels = (torch.from_numpy(x).to(workload.device) for x in (workload.images(), workload.labels()))
    optimizer = _adamw(model, settings)

    def wait() -> None:
        if on_gpu:
            torch.cuda.synchronize()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with autocast():
            loss: Any = torch.nn.functional.cross_entropy(run(images), labels)
        loss.backward()
        if settings.clip:
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        optimizer.step()
        wait()

    def forward() -> Array:
        with torch.inference_mode(), autocast():
            logits = run(images)
        wait()
        return logits.float().cpu().numpy()

    return Theirs(forward, step)


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


def _model(workload: Workload) -> Any:
    """The Vision Transformer of torch.nn with the workload's parameters. Dropout is left out."""
    import torch
    from torch import nn

    config = workload.config
    tensors = {name: torch.from_numpy(x) for name, x in named(workload.params())}

    def linear(weight: str, bias: str) -> Any:
        layer = nn.Linear(*tensors[weight].shape)
        layer.weight.data, layer.bias.data = tensors[weight].T.contiguous(), tensors[bias].clone()
        return layer

    def norm(gain: str, bias: str) -> Any:
        layer = nn.LayerNorm(config.width, eps=config.eps)
        layer.weight.data, layer.bias.data = tensors[gain].clone(), tensors[bias].clone()
        return layer

    class Block(nn.Module):
        def __init__(self, i: int) -> None:
            super().__init__()
            b = f"blocks.{i}."
            self.norm1, self.norm2 = norm(f"{b}norm1_gain", f"{b}norm1_bias"), norm(f"{b}norm2_gain", f"{b}norm2_bias")
            self.qkv, self.out = linear(f"{b}qkv_weight", f"{b}qkv_bias"), linear(f"{b}out_weight", f"{b}out_bias")
            self.fc1, self.fc2 = linear(f"{b}fc1_weight", f"{b}fc1_bias"), linear(f"{b}fc2_weight", f"{b}fc2_bias")
            self.gelu = nn.GELU(approximate="tanh" if config.gelu == "tanh" else "none")

        def forward(self, z: Any) -> Any:
            batch, tokens, width = z.shape
            qkv = self.qkv(self.norm1(z)).view(batch, tokens, 3, config.heads, width // config.heads)
            q, k, v = qkv.permute(2, 0, 3, 1, 4)
            y = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, tokens, width)
            z = z + self.out(y)
            return z + self.fc2(self.gelu(self.fc1(self.norm2(z))))

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(config.channels, config.width, config.patch_size, config.patch_size)
            self.patches.weight = nn.Parameter(_kernel(tensors["patch_weight"], config))
            self.patches.bias = nn.Parameter(tensors["patch_bias"].clone())
            self.token = nn.Parameter(tensors["class_token"].clone()) if "class_token" in tensors else None
            self.positions = nn.Parameter(tensors["positions"].clone()) if "positions" in tensors else None
            fixed = position_table(config, np).astype(np.float32) if config.positions == "sincos" else None
            self.register_buffer("fixed_positions", None if fixed is None else torch.from_numpy(fixed))
            self.blocks = nn.Sequential(*(Block(i) for i in range(config.depth)))
            self.norm, self.head = norm("norm_gain", "norm_bias"), linear("head_weight", "head_bias")

        def forward(self, images: Any) -> Any:
            z = self.patches(images).flatten(2).transpose(1, 2)
            if self.token is not None:
                z = torch.cat([self.token.expand(len(z), 1, -1), z], dim=1)
            positions = self.positions if self.fixed_positions is None else self.fixed_positions
            if positions is not None:
                z = z + positions
            z = self.norm(self.blocks(z))
            return self.head(z.mean(1) if self.token is None else z[:, 0])

    return Model()


def _kernel(weight: Any, config: ViTConfig) -> Any:
    """The patch weight (P*P*C, D) as a convolution's kernel (D, C, P, P)."""
    shaped = weight.reshape(*config.patch_size, config.channels, config.width)
    return shaped.permute(3, 2, 0, 1).contiguous()
