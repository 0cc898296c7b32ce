"""The named Vision Transformers: the paper's, and small ones for 32-pixel images.

A name is a size and a patch, "B/16". Any other field is given beside it:
`variant("Ti/16", classes=10)`.

Source: Dosovitskiy et al. 2020 (arXiv:2010.11929), table 1; Ti and S from Touvron et al. 2020
(arXiv:2012.12877), table 1.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from minivit.errors import MinivitError, nearest, require_kind
from minivit.model.config import ViTConfig

# size: (width, depth, heads); the MLP is four times as wide as the model.
_SIZES = {
    "Ti": (192, 12, 3),
    "S": (384, 12, 6),
    "B": (768, 12, 12),
    "L": (1024, 24, 16),
    "H": (1280, 32, 16),
    "micro": (96, 4, 3),
    "mini": (192, 6, 3),
    "small": (384, 7, 6),
}

# name: image size; the paper's at 224 pixels with the 1000 classes of ImageNet.
_PAPER = ("Ti/16", "S/16", "S/32", "B/16", "B/32", "L/16", "L/32", "H/14")
_SMALL = ("micro/4", "mini/4", "small/4")

VARIANTS: tuple[str, ...] = _PAPER + _SMALL
# What a name says of any model; the images and their classes may be others than the paper's.
SIZE_FIELDS = ("patch_size", "width", "depth", "heads", "mlp_width")


def variant(name: str, **changes: object) -> ViTConfig:
    """Return the named configuration, with any field changed.

    Raises MinivitError for an unknown name or field, and for fields that do not go together.
    """
    require_kind(name, str, "variant: name", "such as 'micro/4'")
    known = [field.name for field in dataclasses.fields(ViTConfig)]
    for field in changes:
        if field not in known:
            raise MinivitError(f"ViTConfig has no field {field!r}; it has {', '.join(known)}.{nearest(field, known)}")
    if name not in VARIANTS:
        raise MinivitError(
            f"variant {name!r} is not known; expected one of {', '.join(VARIANTS)}.{nearest(name, VARIANTS)}"
        )
    size, patch = name.split("/")
    width, depth, heads = _SIZES[size]
    image, classes = (224, 1000) if name in _PAPER else (32, 10)
    fields: dict[str, Any] = {
        "image_size": image,
        "patch_size": int(patch),
        "classes": classes,
        "width": width,
        "depth": depth,
        "heads": heads,
    }
    return ViTConfig(**(fields | changes))
