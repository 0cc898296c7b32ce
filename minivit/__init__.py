"""minivit: a Vision Transformer written by hand, forward and backward, on NumPy and CuPy.

    import minivit
    config = minivit.variant("micro/4")
    params = minivit.init_params(config, seed=0)
    logits, cache = minivit.vit(params, images, config)      # images (B, C, H, W)
    gradients = minivit.vit_backward(dlogits, cache)

`import minivit` imports NumPy and nothing heavier; each public name loads its module when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np  # noqa: F401  (the one dependency of the import)

if TYPE_CHECKING:
    from minivit import functions, gradcheck
    from minivit.errors import MinivitError
    from minivit.model import (
        VARIANTS,
        ViTConfig,
        ViTParams,
        attention_maps,
        count_params,
        init_params,
        variant,
        vit,
        vit_backward,
        vit_backward_with_images,
    )

__version__ = "0.1.0"

_HOMES = {
    "MinivitError": "minivit.errors",
    "VARIANTS": "minivit.model",
    "ViTConfig": "minivit.model",
    "ViTParams": "minivit.model",
    "attention_maps": "minivit.model",
    "count_params": "minivit.model",
    "init_params": "minivit.model",
    "variant": "minivit.model",
    "vit": "minivit.model",
    "vit_backward": "minivit.model",
    "vit_backward_with_images": "minivit.model",
}
_MODULES = ("functions", "gradcheck")

__all__ = [
    "VARIANTS",
    "MinivitError",
    "ViTConfig",
    "ViTParams",
    "attention_maps",
    "count_params",
    "functions",
    "gradcheck",
    "init_params",
    "variant",
    "vit",
    "vit_backward",
    "vit_backward_with_images",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"minivit.{name}")
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'minivit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
