"""The Vision Transformer from PyTorch's own layers, with minivit's parameters. Importing this needs PyTorch.

Dropout is left out, as measurements have none.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from minivit.model import ViTConfig, ViTParams, named
from minivit.model.vit import position_table

Tensors = dict[str, Any]  # a parameter's name in minivit, and a tensor of its numbers


class TorchViT(nn.Module):
    """The whole model: logits (B, classes) of images (B, C, H, W)."""

    def __init__(self, config: ViTConfig, params: ViTParams) -> None:
        super().__init__()
        tensors = {name: torch.from_numpy(x) for name, x in named(params)}
        self.patches = nn.Conv2d(config.channels, config.width, config.patch_size, config.patch_size)
        self.patches.weight = nn.Parameter(_kernel(tensors["patch_weight"], config))
        self.patches.bias = nn.Parameter(tensors["patch_bias"].clone())
        self.token = nn.Parameter(tensors["class_token"].clone()) if "class_token" in tensors else None
        self.positions = nn.Parameter(tensors["positions"].clone()) if "positions" in tensors else None
        fixed = position_table(config, np).astype(np.float32) if config.positions == "sincos" else None
        self.register_buffer("fixed_positions", None if fixed is None else torch.from_numpy(fixed))
        self.blocks = nn.Sequential(*(_Block(config, tensors, i) for i in range(config.depth)))
        self.norm = _norm(config, tensors, "norm")
        self.head = _linear(tensors, "head")

    def forward(self, images: Any) -> Any:
        z = self.patches(images).flatten(2).transpose(1, 2)
        if self.token is not None:
            z = torch.cat([self.token.expand(len(z), 1, -1), z], dim=1)
        positions = self.positions if self.fixed_positions is None else self.fixed_positions
        if positions is not None:
            z = z + positions
        z = self.norm(self.blocks(z))
        return self.head(z.mean(1) if self.token is None else z[:, 0])


class _Block(nn.Module):
    """An encoder block: (B, T, D) of the same."""

    def __init__(self, config: ViTConfig, tensors: Tensors, i: int) -> None:
        super().__init__()
        self.heads = config.heads
        self.norm1, self.norm2 = (_norm(config, tensors, f"blocks.{i}.norm{n}") for n in (1, 2))
        self.qkv, self.out, self.fc1, self.fc2 = (
            _linear(tensors, f"blocks.{i}.{name}") for name in ("qkv", "out", "fc1", "fc2")
        )
        self.gelu = nn.GELU(approximate="tanh" if config.gelu == "tanh" else "none")

    def forward(self, z: Any) -> Any:
        batch, tokens, width = z.shape
        qkv = self.qkv(self.norm1(z)).view(batch, tokens, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        y = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, tokens, width)
        z = z + self.out(y)
        return z + self.fc2(self.gelu(self.fc1(self.norm2(z))))


def _linear(tensors: Tensors, name: str) -> Any:
    weight, bias = tensors[f"{name}_weight"], tensors[f"{name}_bias"]
    layer = nn.Linear(*weight.shape)
    layer.weight.data, layer.bias.data = weight.T.contiguous(), bias.clone()
    return layer


def _norm(config: ViTConfig, tensors: Tensors, name: str) -> Any:
    layer = nn.LayerNorm(config.width, eps=config.eps)
    layer.weight.data, layer.bias.data = tensors[f"{name}_gain"].clone(), tensors[f"{name}_bias"].clone()
    return layer


def _kernel(weight: Any, config: ViTConfig) -> Any:
    """The patch weight (P*P*C, D) as a convolution's kernel (D, C, P, P)."""
    shaped = weight.reshape(*config.patch_size, config.channels, config.width)
    return shaped.permute(3, 2, 0, 1).contiguous()
