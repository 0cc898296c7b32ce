"""ViTConfig: the sizes and choices that make one Vision Transformer, checked when it is made.

Letters of the design: image (H, W), patch (P, P), D = width, K = heads, F = mlp_width, T = tokens.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from numbers import Integral
from typing import Literal, get_args

from minivit.errors import MinivitError, counted
from minivit.fields import setting
from minivit.functions import GeluForm

Pooling = Literal["class_token", "mean"]
Positions = Literal["learned", "sincos", "none"]


@dataclass(frozen=True, kw_only=True)
class ViTConfig:
    """One Vision Transformer. Sizes are (height, width) pairs; one integer means a square.

    Raises MinivitError, a ValueError, for an impossible combination: one sentence with the field, its value
    and what would work. Source of the defaults: Dosovitskiy et al. 2020 (arXiv:2010.11929).
    """

    image_size: tuple[int, int] = setting((32, 32), "(H, W) in pixels")
    patch_size: tuple[int, int] = setting((4, 4), "(P, P) in pixels; has to divide the image")
    channels: int = setting(3, "C, colours of a pixel")
    classes: int = setting(10, "width of the logits")
    width: int = setting(96, "D, numbers per token")
    depth: int = setting(4, "encoder blocks")
    heads: int = setting(3, "K, attention heads; has to divide the width")
    mlp_width: int = setting(0, "F, hidden width of the MLP; 0 means four times the width")
    pooling: Pooling = setting("class_token", "what the classifier reads: the class token or the mean of the patches")
    positions: Positions = setting("learned", "position embedding: learned, fixed sin-cos, or none at all")
    gelu: GeluForm = setting("tanh", "tanh form as in Google's code, erf form as in timm")
    eps: float = setting(1e-6, "added to layer norm's variance")
    dropout: float = setting(0.0, "share of numbers dropped after every dense layer but q k v")
    drop_path: float = setting(0.0, "share of images that skip the last block's branches; earlier blocks less")

    def __post_init__(self) -> None:
        for name in ("image_size", "patch_size"):
            object.__setattr__(self, name, _pair(name, getattr(self, name)))
        _check_numbers(self)
        if self.mlp_width == 0:
            object.__setattr__(self, "mlp_width", 4 * self.width)
        _check_choices(self)
        _check_fit(self)

    @property
    def grid(self) -> tuple[int, int]:
        """Patches down and across: (H / P, W / P)."""
        return self.image_size[0] // self.patch_size[0], self.image_size[1] // self.patch_size[1]

    @property
    def patches(self) -> int:
        """N, the number of patches."""
        return self.grid[0] * self.grid[1]

    @property
    def tokens(self) -> int:
        """T, the number of tokens: the patches, and the class token if there is one."""
        return self.patches + (self.pooling == "class_token")

    @property
    def patch_values(self) -> int:
        """P * P * C, the numbers in one flattened patch."""
        return self.patch_size[0] * self.patch_size[1] * self.channels

    @property
    def in_words(self) -> str:
        """Its size in words: "7 blocks, width 384, 6 heads"."""
        return f"{counted(self.depth, 'block')}, width {self.width}, {counted(self.heads, 'head')}"

    def replace(self, **changes: object) -> ViTConfig:
        """A copy with some fields changed, checked again. mlp_width stays; 0 makes it four times the width anew."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]


def _pair(name: str, value: object) -> tuple[int, int]:
    """One integer or two, as (height, width)."""
    if _is_integer(value):
        value = (value, value)
    if isinstance(value, list | tuple) and len(value) == 2 and all(_is_integer(v) and v > 0 for v in value):
        return int(value[0]), int(value[1])
    raise MinivitError(f"{name} is {value!r}; expected one positive integer or two, (height, width), such as (32, 32)")


def _is_integer(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)  # NumPy's, too


def _check_numbers(config: ViTConfig) -> None:
    for name in ("channels", "classes", "width", "depth", "heads", "mlp_width"):
        value, least = getattr(config, name), 0 if name == "mlp_width" else 1
        if not _is_integer(value) or value < least:
            raise MinivitError(f"{name} is {value!r}; expected an integer of at least {least}")
        object.__setattr__(config, name, int(value))  # what NumPy's integers are no more: a number that a file can hold
    for name in ("dropout", "drop_path"):
        value = getattr(config, name)
        if not isinstance(value, float | int) or not 0.0 <= value < 1.0:
            raise MinivitError(f"{name} is {value!r}; expected a share from 0 to just under 1, such as 0.1")
    if not isinstance(config.eps, float) or not 0.0 < config.eps < 1.0:
        raise MinivitError(f"eps is {config.eps!r}; expected a small positive number, such as 1e-6")


def _check_choices(config: ViTConfig) -> None:
    for name, choices in (("pooling", Pooling), ("positions", Positions), ("gelu", GeluForm)):
        value, known = getattr(config, name), get_args(choices)
        if value not in known:
            raise MinivitError(f"{name} is {value!r}; expected one of {', '.join(map(repr, known))}")


def _check_fit(config: ViTConfig) -> None:
    for side, image, patch in zip(("height", "width"), config.image_size, config.patch_size, strict=True):
        if image % patch:
            fits = _nearest_divisors(image, patch)
            raise MinivitError(
                f"patch_size {config.patch_size} does not divide image_size {config.image_size}: "
                f"{side} {image} is not a multiple of {patch}; a patch {side} of {fits} would work"
            )
    if config.width % config.heads:
        fits = _nearest_divisors(config.width, config.heads)
        raise MinivitError(
            f"heads is {config.heads}, which does not divide width {config.width}; "
            f"{fits} heads would work, or a width of {_nearest_multiple(config.heads, config.width)}"
        )
    if config.positions == "sincos" and (config.width % 4 or config.width < 8):
        better = _nearest_multiple(math.lcm(4, config.heads), max(8, config.width))
        raise MinivitError(
            f"width is {config.width}, but positions 'sincos' needs a multiple of 4, at least 8; {better} would work"
        )


def _nearest_multiple(of: int, wanted: int) -> int:
    """The positive multiple of `of` next to `wanted`."""
    return of * max(1, round(wanted / of))


_FAR = 10_000


def _nearest_divisors(number: int, wanted: int) -> str:
    """The divisors of `number` next to `wanted`, for a hint: "2 or 4". Far away only 1 and the number are looked at."""
    wanted = min(wanted, number + 1)
    near = [range(wanted - 1, 1, -1)[:_FAR], range(wanted + 1, number)[:_FAR]]
    below, above = (next((d for d in some if number % d == 0), None) for some in near)
    found = [below or 1, above or number]
    return " or ".join(str(d) for d in dict.fromkeys(found) if d != wanted)
