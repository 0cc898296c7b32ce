"""The parameter tree: what it holds, how it starts, and the one flat buffer behind it.

`param_specs(config)` is the single table of names, shapes and initial distributions. The same tree type
holds parameters, gradients and optimiser moments.

Initialisation as in Google's ViT (google-research/vision_transformer, models_vit.py): kernels of the
blocks Xavier-uniform, patch kernel LeCun-normal, positions N(0, 0.02^2), MLP biases N(0, 1e-6^2), gains 1,
all else 0, the head's weight too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import numpy as np

from minivit.arrays import Array, array_module, cast, host_copy, to_device
from minivit.errors import require_kind
from minivit.model.config import ViTConfig
from minivit.randomness import Key, generator


class BlockParams(NamedTuple):
    """The parameters of one encoder block; D width, F mlp_width."""

    norm1_gain: Array  # (D,)
    norm1_bias: Array  # (D,)
    qkv_weight: Array  # (D, 3 D)  queries' columns, keys', values'
    qkv_bias: Array  # (3 D,)
    out_weight: Array  # (D, D)
    out_bias: Array  # (D,)
    norm2_gain: Array  # (D,)
    norm2_bias: Array  # (D,)
    fc1_weight: Array  # (D, F)
    fc1_bias: Array  # (F,)
    fc2_weight: Array  # (F, D)
    fc2_bias: Array  # (D,)


class ViTParams(NamedTuple):
    """The parameters of a Vision Transformer, or anything of their shapes: gradients, moments."""

    patch_weight: Array  # (P*P*C, D)
    patch_bias: Array  # (D,)
    class_token: Array | None  # (D,)    None with mean pooling
    positions: Array | None  # (T, D)    None unless learned
    blocks: tuple[BlockParams, ...]
    norm_gain: Array  # (D,)
    norm_bias: Array  # (D,)
    head_weight: Array  # (D, classes)
    head_bias: Array  # (classes,)


Init = Literal["zeros", "ones", "normal_0.02", "normal_1e-6", "xavier", "lecun"]


class Spec(NamedTuple):
    """One tensor: its shape, and the distribution that it starts from."""

    shape: tuple[int, ...]
    init: Init


def param_specs(config: ViTConfig) -> dict[str, Spec]:
    """Name, shape and initial distribution of every tensor, in the tree's order. Allocates nothing."""
    width = config.width
    specs = {
        "patch_weight": Spec((config.patch_values, width), "lecun"),
        "patch_bias": Spec((width,), "zeros"),
    }
    if config.pooling == "class_token":
        specs["class_token"] = Spec((width,), "zeros")
    if config.positions == "learned":
        specs["positions"] = Spec((config.tokens, width), "normal_0.02")
    for i in range(config.depth):
        specs |= {f"blocks.{i}.{name}": spec for name, spec in _block_specs(width, config.mlp_width).items()}
    return specs | {
        "norm_gain": Spec((width,), "ones"),
        "norm_bias": Spec((width,), "zeros"),
        "head_weight": Spec((width, config.classes), "zeros"),
        "head_bias": Spec((config.classes,), "zeros"),
    }


def _block_specs(width: int, mlp_width: int) -> dict[str, Spec]:
    return {
        "norm1_gain": Spec((width,), "ones"),
        "norm1_bias": Spec((width,), "zeros"),
        "qkv_weight": Spec((width, 3 * width), "xavier"),
        "qkv_bias": Spec((3 * width,), "zeros"),
        "out_weight": Spec((width, width), "xavier"),
        "out_bias": Spec((width,), "zeros"),
        "norm2_gain": Spec((width,), "ones"),
        "norm2_bias": Spec((width,), "zeros"),
        "fc1_weight": Spec((width, mlp_width), "xavier"),
        "fc1_bias": Spec((mlp_width,), "normal_1e-6"),
        "fc2_weight": Spec((mlp_width, width), "xavier"),
        "fc2_bias": Spec((width,), "normal_1e-6"),
    }


def count_params(config: ViTConfig) -> int:
    """The number of parameters, by arithmetic on shapes: 5 717 416 for Ti/16."""
    require_kind(config, ViTConfig, "count_params: config", "such as minivit.variant('micro/4')")
    return sum(math.prod(spec.shape) for spec in param_specs(config).values())


def init_params(config: ViTConfig, seed: int = 0, dtype: Any = np.float32, device: str = "cpu") -> ViTParams:
    """Fresh parameters of `dtype` on `device` ("cpu" or "cuda").

    Each tensor is drawn in float64 at an address of its own, so a seed means the same parameters in every
    dtype and on every device.
    """
    require_kind(config, ViTConfig, "init_params: config", "such as minivit.variant('micro/4')")
    tensors = {
        name: to_device(_draw(spec, name, Key(seed, "init", site=i)).astype(dtype), device)
        for i, (name, spec) in enumerate(param_specs(config).items())
    }
    return tree_of(tensors)


def _draw(spec: Spec, name: str, key: Key) -> Array:
    rng = generator(key)
    if spec.init == "xavier":
        # The merged q k v matrix is three square ones: its fan-out is that of one.
        fan_in, fan_out = spec.shape[0], spec.shape[1] // (3 if name.endswith("qkv_weight") else 1)
        bound = math.sqrt(6.0 / (fan_in + fan_out))
        return rng.uniform(-bound, bound, spec.shape)
    if spec.init == "lecun":
        # Cut at two standard deviations, then widened again to variance 1 / fan_in, as in Flax.
        return _truncated_normal(rng, spec.shape) * (math.sqrt(1.0 / spec.shape[0]) / 0.87962566103423978)
    if spec.init == "normal_0.02":
        return rng.standard_normal(spec.shape) * 0.02
    if spec.init == "normal_1e-6":
        return rng.standard_normal(spec.shape) * 1e-6
    return np.full(spec.shape, 1.0 if spec.init == "ones" else 0.0)


def _truncated_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """A standard normal cut at 2 standard deviations: what falls outside is drawn again."""
    x = np.asarray(rng.standard_normal(shape))
    while (outside := np.abs(x) > 2.0).any():
        x[outside] = rng.standard_normal(int(outside.sum()))
    return x


def named(tree: ViTParams) -> Iterator[tuple[str, Array]]:
    """Every tensor of a tree with its name, "blocks.0.qkv_weight", in the order of `param_specs`."""
    for field in ViTParams._fields:
        value: Array | None = None if field == "blocks" else getattr(tree, field)
        if field == "blocks":
            for i, block in enumerate(tree.blocks):
                yield from ((f"blocks.{i}.{name}", x) for name, x in zip(BlockParams._fields, block, strict=True))
        elif value is not None:
            yield field, value


def tree_of(tensors: dict[str, Array]) -> ViTParams:
    """The tree that `named` takes apart. Raises KeyError if a tensor is missing."""
    depth = sum(name.endswith(".qkv_weight") for name in tensors)
    blocks = tuple(BlockParams(*(tensors[f"blocks.{i}.{name}"] for name in BlockParams._fields)) for i in range(depth))
    fields: dict[str, Any] = {name: tensors.get(name) for name in ("class_token", "positions")}
    fields |= {name: tensors[name] for name in ViTParams._fields if name not in {"blocks", *fields}}
    return ViTParams(blocks=blocks, **fields)


def map_tree(function: Callable[[Array], Array], tree: ViTParams) -> ViTParams:
    """The tree with `function` applied to every tensor."""
    return tree_of({name: function(x) for name, x in named(tree)})


class Flat(NamedTuple):
    """A tree whose tensors are views into one buffer: one call of an optimiser updates all of them."""

    buffer: Array  # (size,)    gaps between tensors are 0 and stay 0
    tree: ViTParams  # views into the buffer
    decayed: int  # buffer[:decayed] holds the weight matrices, which weight decay applies to


_ALIGNMENT = 64  # bytes: a cache line, and enough for any vector load


def flatten(tree: ViTParams) -> Flat:
    """Copy a tree into one buffer of its dtype, the weight matrices first, every tensor aligned to 64 bytes.

    Weight matrices are the tensors named *_weight. Gains, biases, class token and positions do not decay.
    """
    starts, size, decayed = _places(tree)
    xp = array_module(tree.patch_weight)
    buffer = _aligned_zeros(xp, size, tree.patch_weight.dtype)
    views = _views(buffer, tree, starts)
    for (_, into), (_, x) in zip(named(views), named(tree), strict=True):
        into[...] = cast(x, buffer.dtype)
    return Flat(buffer, views, decayed)


def copied_as(flat: Flat, dtype: Any) -> Flat:
    """A copy of `flat` in another dtype, every number at the same index: one pass over both keeps them equal."""
    return _over(array_module(flat.buffer).astype(flat.buffer, dtype), flat)


def copied_to_host(flat: Flat) -> Flat:
    """A copy of `flat` in NumPy arrays, every number at the same index."""
    return _over(host_copy(flat.buffer), flat)


def _over(buffer: Array, flat: Flat) -> Flat:
    """`flat` again, as views into another buffer of the same size."""
    return Flat(buffer, _views(buffer, flat.tree, _places(flat.tree)[0]), flat.decayed)


def _places(tree: ViTParams) -> tuple[dict[str, int], int, int]:
    """Where each tensor begins in a flat buffer, its size, and where the weight matrices end."""
    step = _ALIGNMENT // tree.patch_weight.itemsize
    tensors = dict(named(tree))
    order = sorted(tensors, key=lambda name: not name.endswith("_weight"))  # stable: weights, then the rest
    start, starts, decayed = 0, {}, 0
    for name in order:
        starts[name] = start
        start += -(-tensors[name].size // step) * step
        if name.endswith("_weight"):
            decayed = start
    return starts, start, decayed


def _views(buffer: Array, tree: ViTParams, starts: dict[str, int]) -> ViTParams:
    """A tree of views into `buffer`, shaped as `tree`."""
    return tree_of({name: buffer[starts[name] : starts[name] + x.size].reshape(x.shape) for name, x in named(tree)})


def _aligned_zeros(xp: Any, size: int, dtype: Any) -> Array:
    """Zeros (size,) whose first byte lies on a multiple of the alignment. CuPy's allocator sees to that itself."""
    if xp is not np:
        return xp.zeros(size, dtype=dtype)
    x = np.zeros(size + _ALIGNMENT // np.dtype(dtype).itemsize, dtype=dtype)
    skip = -x.ctypes.data % _ALIGNMENT // x.itemsize
    return x[skip : skip + size]
