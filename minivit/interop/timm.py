"""Parameters under timm's names and in its layout, as they are saved.

timm keeps a linear weight as (out, in) and the patch kernel as a convolution's, (D, C, P, P). A file
saved from here can be loaded by timm's VisionTransformer of the same sizes (`class_token=True`,
`global_pool="token"`, eps 1e-6), which computes the erf form of GELU and learns its positions: those of
`positions="sincos"` are no parameters, and not in the file.

Source: timm 1.0, timm/models/vision_transformer.py.
"""

from __future__ import annotations

import numpy as np

from minivit.arrays import Array, to_host
from minivit.errors import MinivitError
from minivit.model.config import ViTConfig
from minivit.model.params import ViTParams, named, param_specs, tree_of

_TOP = {
    "patch_weight": "patch_embed.proj.weight",
    "patch_bias": "patch_embed.proj.bias",
    "class_token": "cls_token",
    "positions": "pos_embed",
    "norm_gain": "norm.weight",
    "norm_bias": "norm.bias",
    "head_weight": "head.weight",
    "head_bias": "head.bias",
}
_BLOCK = {
    "norm1_gain": "norm1.weight",
    "norm1_bias": "norm1.bias",
    "qkv_weight": "attn.qkv.weight",
    "qkv_bias": "attn.qkv.bias",
    "out_weight": "attn.proj.weight",
    "out_bias": "attn.proj.bias",
    "norm2_gain": "norm2.weight",
    "norm2_bias": "norm2.bias",
    "fc1_weight": "mlp.fc1.weight",
    "fc1_bias": "mlp.fc1.bias",
    "fc2_weight": "mlp.fc2.weight",
    "fc2_bias": "mlp.fc2.bias",
}


def timm_name(name: str) -> str:
    """timm's name of a tensor of the tree: "blocks.0.qkv_weight" is "blocks.0.attn.qkv.weight"."""
    if name.startswith("blocks."):
        _, index, field = name.split(".")
        return f"blocks.{index}.{_BLOCK[field]}"
    return _TOP[name]


def to_timm(params: ViTParams, config: ViTConfig) -> dict[str, Array]:
    """The parameters as NumPy arrays under timm's names and in its layout: views of them, where they are NumPy's."""
    return {timm_name(name): _to_layout(name, to_host(x), config) for name, x in named(params)}


def from_timm(tensors: dict[str, Array], config: ViTConfig) -> ViTParams:
    """The tree that `to_timm` took apart; of views, where the layout allows.

    Raises MinivitError for a missing or a surplus tensor, or one of another shape or dtype than the rest.
    """
    specs = param_specs(config)
    expected = {timm_name(name) for name in specs}
    for problem, names in (("misses", expected - tensors.keys()), ("has the surplus", tensors.keys() - expected)):
        if names:
            raise MinivitError(
                f"the file {problem} tensor {min(names)!r} ({len(names)} in all); "
                "expected the parameters of the model that its configuration describes"
            )
    dtype = tensors[timm_name("patch_weight")].dtype
    if dtype.kind != "f":
        raise MinivitError(f"the file holds tensors of {dtype}; expected a float type")
    tree = {}
    for name, spec in specs.items():
        x = tensors[timm_name(name)]
        shape = _to_layout(name, np.broadcast_to(np.float32(0), spec.shape), config).shape
        if x.shape != shape or x.dtype != dtype:
            raise MinivitError(
                f"tensor {timm_name(name)!r} is {x.dtype} {x.shape}; expected {dtype} {shape} by its configuration"
            )
        tree[name] = np.ascontiguousarray(_from_layout(name, x, config))
    return tree_of(tree)


def _to_layout(name: str, x: Array, config: ViTConfig) -> Array:
    if name == "patch_weight":  # (P*P*C, D) -> (D, C, P, P)
        return x.reshape(*config.patch_size, config.channels, config.width).transpose(3, 2, 0, 1)
    if name.endswith("_weight"):  # (in, out) -> (out, in)
        return x.T
    if name == "class_token":  # (D,) -> (1, 1, D)
        return x[None, None]
    return x[None] if name == "positions" else x  # (T, D) -> (1, T, D)


def _from_layout(name: str, x: Array, config: ViTConfig) -> Array:
    if name == "patch_weight":
        return x.transpose(2, 3, 1, 0).reshape(config.patch_values, config.width)
    if name.endswith("_weight"):
        return x.T
    if name == "class_token":
        return x[0, 0]
    return x[0] if name == "positions" else x
