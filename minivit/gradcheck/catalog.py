"""Every pair of minivit with arguments to check it on: the functions, the encoder block, the whole model.

Sizes are odd and differ from one another, images and patches are not square, gains and biases are random:
what is transposed, or multiplied by the wrong length, shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from minivit import functions as fn
from minivit.arrays import Array, array_module, to_device
from minivit.gradcheck.derivative import is_float
from minivit.gradcheck.trial import mapped
from minivit.model.block import BlockSettings, block, block_backward
from minivit.model.config import ViTConfig
from minivit.model.params import BlockParams, ViTParams, named, param_specs, tree_of
from minivit.model.vit import vit, vit_backward_with_images
from minivit.ops import reference
from minivit.randomness import Key


class Case(NamedTuple):
    """A pair and arguments for it: float64 arrays, and settings that are passed through."""

    f: Callable[..., tuple[Any, Any]]
    f_backward: Callable[[Any, Any], Any]
    args: tuple[Any, ...]
    like_x: int = 1  # this many gradients have the type of x; those of parameters are float32 or wider
    wide_result: bool = False  # the result, too, is float32 or wider
    names: tuple[str, ...] | None = None  # of the arguments, where f's signature does not say them
    axes: Mapping[str, Sequence[str]] | None = None  # of the arguments, where f's docstring does not say them
    drawn: bool = False  # the arguments are random numbers, of which nobody knows whether f takes them

    def cast(self, dtype: Any) -> Case:
        """The same case with its float arrays in dtype."""
        return self._replace(args=tuple(a.astype(dtype) if is_float(a) else a for a in self.args))

    def on(self, device: str) -> Case:
        """The same case with its arrays, of whatever numbers, on `device`, "cpu" or "cuda"."""
        return self._replace(args=mapped(lambda a: a if isinstance(a, np.generic) else to_device(a, device), self.args))


def normal(seed: int, *shape: int, scale: float = 1.0) -> Array:
    """Standard normal numbers of a shape times `scale`, in float64."""
    return np.asarray(np.random.default_rng(seed).standard_normal(shape) * scale)


DROP_KEY = Key(seed=3, purpose="dropout", epoch=1, step=2)


def pre_norm(z: Array, g: Array, b: Array) -> tuple[Array, Any]:
    """The two ways that z (..., D) goes where a branch leaves the stream, on and into it, as one result (..., 2, D)."""
    x, cache = fn.pre_norm(z, g, b)
    return array_module(z).stack([z, x], axis=-2), cache


def pre_norm_backward(dy: Array, cache: Any) -> Any:
    """Gradients (dz, dg, db) for dy (..., 2, D)."""
    return fn.pre_norm_backward(dy[..., 0, :], dy[..., 1, :], cache)


FUNCTIONS: dict[str, Case] = {
    "linear": Case(fn.linear, fn.linear_backward, (normal(1, 3, 5, 7), normal(2, 7, 4), normal(3, 4))),
    "layer_norm": Case(fn.layer_norm, fn.layer_norm_backward, (normal(4, 2, 3, 7), normal(5, 7), normal(6, 7))),
    "softmax": Case(fn.softmax, fn.softmax_backward, (normal(7, 2, 3, 5, scale=3.0),)),
    "attention": Case(
        fn.attention, fn.attention_backward, (normal(8, 2, 3, 5, 4), normal(9, 2, 3, 7, 4), normal(10, 2, 3, 7, 6)), 3
    ),
    "multi_head_attention": Case(
        fn.multi_head_attention,
        fn.multi_head_attention_backward,
        (normal(11, 3, 5, 6), normal(12, 6, 18), normal(13, 18), normal(14, 6, 6), normal(15, 6), 3),
    ),
    "multi_head_attention_of_first": Case(
        fn.multi_head_attention,
        fn.multi_head_attention_backward,
        (normal(41, 3, 5, 6), normal(42, 6, 18), normal(43, 18), normal(44, 6, 6), normal(45, 6), 3, 2),
    ),
    "gelu_tanh": Case(fn.gelu, fn.gelu_backward, (normal(16, 3, 5, 7, scale=2.0), "tanh")),
    "gelu_erf": Case(fn.gelu, fn.gelu_backward, (normal(17, 3, 5, 7, scale=2.0), "erf")),
    "mlp": Case(
        fn.mlp,
        fn.mlp_backward,
        (normal(18, 2, 3, 5), normal(19, 5, 7), normal(20, 7), normal(21, 7, 5), normal(22, 5), "erf", 0.3, DROP_KEY),
    ),
    "dropout": Case(fn.dropout, fn.dropout_backward, (normal(23, 3, 5, 7), 0.4, DROP_KEY)),
    "drop_path": Case(fn.drop_path, fn.drop_path_backward, (normal(24, 9, 3, 5), 0.4, DROP_KEY)),
    "pre_norm": Case(pre_norm, pre_norm_backward, (normal(37, 2, 3, 7), normal(38, 7), normal(39, 7))),
    "residual": Case(
        fn.residual,
        fn.residual_backward,
        (normal(35, 9, 3, 5), normal(36, 9, 3, 5), 0.4, 0.3, DROP_KEY),
        like_x=2,
    ),
    "prepend_class_token": Case(
        fn.prepend_class_token, fn.prepend_class_token_backward, (normal(25, 3, 5, 7), normal(26, 7))
    ),
    "add_positions": Case(fn.add_positions, fn.add_positions_backward, (normal(27, 3, 5, 7), normal(28, 5, 7))),
    "pool_class_token": Case(fn.pool_class_token, fn.pool_class_token_backward, (normal(29, 3, 5, 7),)),
    "first_tokens": Case(fn.first_tokens, fn.first_tokens_backward, (normal(40, 3, 5, 7), 2)),
    "pool_mean": Case(fn.pool_mean, fn.pool_mean_backward, (normal(30, 3, 5, 7),)),
    "patchify": Case(fn.patchify, fn.patchify_backward, (normal(31, 2, 3, 6, 10), (3, 2))),
    "unpatchify": Case(fn.unpatchify, fn.unpatchify_backward, (normal(32, 2, 10, 18), (6, 10), (3, 2))),
    "cross_entropy": Case(
        fn.cross_entropy,
        fn.cross_entropy_backward,
        (normal(33, 5, 7, scale=2.0), np.array([0, 6, 3, 3, 1]), 0.1),
        wide_result=True,
    ),
}

# The smallest model with more than one of everything; images and patches are not square.
TINY = ViTConfig(image_size=(6, 4), patch_size=(3, 2), channels=2, classes=3, width=8, depth=1, heads=2, mlp_width=5)


def random_params(config: ViTConfig, seed: int = 0, dtype: Any = np.float64) -> ViTParams:
    """Parameters with no zero and no one among them, so that every term of a gradient counts.

    Weights (in, out) are scaled by 1 / sqrt(in): larger ones saturate the softmax of a wide model, and its
    gradient, then nothing but cancellation, has few right digits in any method.
    """
    tensors = {}
    for i, (name, spec) in enumerate(param_specs(config).items()):
        scale = spec.shape[0] ** -0.5 if name.endswith("_weight") else 0.4
        tensors[name] = (normal(seed + i, *spec.shape, scale=scale) + name.endswith("_gain")).astype(dtype)
    return tree_of(tensors)


def random_images(config: ViTConfig, batch: int = 3, seed: int = 99, dtype: Any = np.float64) -> Array:
    """Images (B, C, H, W) of standard normal numbers."""
    return normal(seed, batch, config.channels, *config.image_size).astype(dtype)


def model_case(config: ViTConfig, key: Key | None = None, batch: int = 3, seed: int = 0, ops: Any = reference) -> Case:
    """The whole model as a pair of functions of (images, tensor, tensor, ...), with random arguments."""
    params = dict(named(random_params(config, seed)))
    names = list(params)

    def model(images: Array, *tensors: Array) -> tuple[Array, Any]:
        return vit(tree_of(dict(zip(names, tensors, strict=True))), images, config, key=key, ops=ops)

    def model_backward(dlogits: Array, cache: Any) -> tuple[Array | None, ...]:
        gradients, dimages = vit_backward_with_images(dlogits, cache)
        found = dict(named(gradients))
        return (dimages, *(found.get(name) for name in names))

    args = (random_images(config, batch), *params.values())
    return Case(model, model_backward, args, names=("images", *names), axes=_axes(("images", *names)))


def block_case(settings: BlockSettings, key: Key | None, config: ViTConfig = TINY, ops: Any = reference) -> Case:
    """An encoder block as a pair of functions of (z, tensor, tensor, ...), with random arguments."""

    def encoder_block(z: Array, *tensors: Array) -> tuple[Array, Any]:
        return block(z, BlockParams(*tensors), settings, ops, key)

    def encoder_block_backward(dy: Array, cache: Any) -> tuple[Array, ...]:
        dz, dparams = block_backward(dy, cache, ops)
        return (dz, *dparams)

    args = (normal(34, 3, 5, config.width), *random_params(config).blocks[0])
    names = ("z", *BlockParams._fields)
    return Case(encoder_block, encoder_block_backward, args, names=names, axes=_axes(names))


_AXES = {
    "images": ("B", "C", "H", "W"),
    "z": ("B", "T", "D"),
    "patch_weight": ("P*P*C", "D"),
    "positions": ("T", "D"),
    "qkv_weight": ("D", "3 D"),
    "qkv_bias": ("3 D",),
    "out_weight": ("D", "D"),
    "fc1_weight": ("D", "F"),
    "fc1_bias": ("F",),
    "fc2_weight": ("F", "D"),
    "head_weight": ("D", "classes"),
    "head_bias": ("classes",),
}


def _axes(names: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Letters of the axes of a model's tensors; the vectors that are not in the table are (D,)."""
    return {name: _AXES.get(name.split(".")[-1], ("D",)) for name in names}


MODELS: dict[str, Case] = {
    "block": block_case(BlockSettings(2, "tanh", 1e-6, 0.3, 0.4), DROP_KEY),
    # Of a dozen seeds the middle one: in float16 it errs by 4e-3, the worst of them (0) by 2e-2.
    "vit": model_case(TINY.replace(depth=2, dropout=0.2, drop_path=0.3), DROP_KEY, seed=300),
    "vit_mean": model_case(TINY.replace(pooling="mean", positions="sincos", gelu="erf"), DROP_KEY),
}
