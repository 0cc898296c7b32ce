"""Answers to notebooks/07_vision_transformer.ipynb."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minivit.arrays import Array
from minivit.functions import patchify, unpatchify
from minivit.gradcheck.catalog import normal
from minivit.lessons.exercise import function_exercise, pair_exercise
from minivit.lessons.slips import Slip, explained, naming_slips
from minivit.model import ViTConfig
from minivit.model.params import param_specs


def pool_patches(x: Array) -> tuple[Array, Any]:
    """Average the patch tokens of x (B, T, D), without the class token at index 0. Returns y (B, D), and the cache."""
    return np.mean(x[:, 1:], axis=1), x.shape[1]


def pool_patches_backward(dy: Array, cache: Any) -> Array:
    """Gradient dx (B, T, D) for dy (B, D)."""
    tokens = cache
    dx = np.zeros((dy.shape[0], tokens, dy.shape[1]), dy.dtype)
    dx[:, 1:] = dy[:, None] / (tokens - 1)
    return dx


def shuffle_patches(images: Array, patch_size: tuple[int, int], order: Array) -> Array:
    """Rearrange the patches of images (B, C, H, W) by order (N,): place n gets patch order[n]. Returns images."""
    patches, _ = patchify(images, patch_size)
    return unpatchify(patches[:, order], images.shape[2:], patch_size)[0]


def parameter_count(
    image_size: tuple[int, int],
    patch_size: tuple[int, int],
    channels: int,
    classes: int,
    width: int,
    depth: int,
    mlp_width: int,
) -> int:
    """The number of parameters of a ViT with a class token and learned positions; sizes are (height, width)."""
    patches = (image_size[0] // patch_size[0]) * (image_size[1] // patch_size[1])
    embedding = (patch_size[0] * patch_size[1] * channels + 1) * width + width + (patches + 1) * width
    attention = (width + 1) * 3 * width + (width + 1) * width
    mlp = (width + 1) * mlp_width + (mlp_width + 1) * width
    block = attention + mlp + 4 * width
    return embedding + depth * block + 2 * width + (width + 1) * classes


_TOKENS = ((normal(1, 3, 12, 7),), (normal(2, 2, 14, 3),))  # 11 and 13, T - 1, are no factors that come by chance
_POOLING_SLIPS: list[Slip] = [
    ("the class token is in the mean", lambda x: x.mean(1)),
    ("divided by T: without the class token there are T - 1", lambda x: x[:, 1:].sum(1) / x.shape[1]),
    ("the sum of the patches: expected their mean", lambda x: x[:, 1:].sum(1)),
    ("this is the class token, which is to be left out", lambda x: x[:, 0]),
]


_ORDERS: tuple[tuple[Any, ...], ...] = (
    (normal(3, 2, 3, 6, 8), (2, 4), np.array([4, 2, 0, 5, 1, 3])),
    (normal(4, 3, 2, 9, 4), (3, 2), np.array([3, 0, 5, 1, 4, 2])),
)


# The sizes of Ti/16, then two models whose sizes all differ from one another.
_SIZES: tuple[tuple[Any, ...], ...] = (
    ((224, 224), (16, 16), 3, 1000, 192, 12, 768),
    ((12, 10), (4, 2), 3, 7, 26, 5, 39),
    ((33, 14), (11, 7), 1, 17, 40, 3, 71),
)


def _what_is_missing(tensor: str, attempt: Callable[..., Any]) -> str:
    """The parts of a model that are as large as the difference, for every size; else the first wrong count."""
    if tensor != "result":
        return ""
    right = [parameter_count(*size) for size in _SIZES]
    try:
        found = [int(attempt(*size)) for size in _SIZES]
    except (TypeError, ValueError, OverflowError):
        return ""
    missing = [n - m for n, m in zip(right, found, strict=True)]
    parts = [dict(_parts(size)) for size in _SIZES]
    names = [name for name in parts[0] if all(abs(n) == part[name] for n, part in zip(missing, parts, strict=True))]
    if names and len({n > 0 for n in missing}) == 1:
        return f"for Ti/16 {abs(missing[0])} too {'few' if missing[0] > 0 else 'many'}: {', or '.join(names[:3])}"
    for i, n in enumerate(missing):
        if n:
            return f"for {f'the sizes {_SIZES[i]}' if i else 'Ti/16'} it is {found[i]} where {right[i]} is right"
    return ""


def _parts(size: tuple[Any, ...]) -> Iterator[tuple[str, int]]:
    """What may be forgotten or counted twice, and how many parameters it has; the likeliest first."""
    names = ("image_size", "patch_size", "channels", "classes", "width", "depth", "mlp_width")
    config = ViTConfig(**dict(zip(names, size, strict=True)), heads=1)
    counts = {name: math.prod(spec.shape) for name, spec in param_specs(config).items()}

    def total(*ends: str) -> int:
        return sum(n for name, n in counts.items() if name.endswith(ends))

    blocks = sum(n for name, n in counts.items() if name.startswith("blocks."))
    linear = ("patch_bias", "qkv_bias", "out_bias", "fc1_bias", "fc2_bias", "head_bias")
    yield "the class token's position", config.width
    yield "the class token and its position", 2 * config.width
    yield "all biases of linear layers", total(*linear)
    yield "the layer norms", total("_gain") * 2
    yield "the layer norms' gains, or their shifts", total("_gain")
    yield "the blocks' layer norms", total("norm1_gain", "norm2_gain") * 2
    yield "one layer norm of each block", total("norm1_gain") * 2
    yield "the last layer norm", config.width * 2
    yield "all blocks but one", blocks - blocks // config.depth
    for name in dict.fromkeys(name.split(".")[-1] for name in counts):
        where = " of all blocks" if f"blocks.0.{name}" in counts else ""
        yield name + where, total(f".{name}") if where else counts[name]
    yield "the biases of attention", total("qkv_bias", "out_bias")
    yield "the biases of the MLPs", total("fc1_bias", "fc2_bias")
    yield "the projection after attention", total("out_weight", "out_bias")


EXERCISES = {
    "7.1": naming_slips(
        pair_exercise("the mean of the patches", pool_patches, pool_patches_backward, *_TOKENS),
        _TOKENS,
        _POOLING_SLIPS,
        names=("y",),
    ),
    "7.2": naming_slips(
        function_exercise("patches in another order", shuffle_patches, *_ORDERS),
        _ORDERS,
        [
            (
                "the inverse: here patch n went to place order[n]; place n has to get patch order[n]",
                lambda images, patch_size, order: shuffle_patches(images, patch_size, np.argsort(order)),
            )
        ],
    ),
    "7.3": explained(function_exercise("the parameter budget", parameter_count, *_SIZES), _what_is_missing),
}
