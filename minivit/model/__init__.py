"""The Vision Transformer: its configuration, its parameters, its forward and its backward pass."""

from minivit.model.config import ViTConfig
from minivit.model.params import BlockParams, Flat, ViTParams, count_params, flatten, init_params, named
from minivit.model.variants import VARIANTS, variant
from minivit.model.vit import ViTCache, attention_maps, vit, vit_backward, vit_backward_with_images

__all__ = [
    "VARIANTS",
    "BlockParams",
    "Flat",
    "ViTCache",
    "ViTConfig",
    "ViTParams",
    "attention_maps",
    "count_params",
    "flatten",
    "init_params",
    "named",
    "variant",
    "vit",
    "vit_backward",
    "vit_backward_with_images",
]
