"""The whole Vision Transformer: from images to logits, and from the logits' gradient to every other.

    z = [c; patches E] + positions          eq. 1
    z = block(z), L times                   eqs. 2-3
    logits = head(pool(layer_norm(z)))      eq. 4

Source: Dosovitskiy et al. 2020 (arXiv:2010.11929). With `pooling="mean"` there is no class token, and the
mean over the normalised patch tokens takes its place (App. D.3).
"""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from minivit.arrays import Array, array_module, real_part
from minivit.errors import require_kind
from minivit.functions.dropout import DropoutCache
from minivit.functions.embedding import EmbeddingCache, sincos_positions
from minivit.functions.layer_norm import LayerNormCache
from minivit.functions.linear import LinearCache
from minivit.functions.patches import PatchesCache
from minivit.functions.pooling import PoolingCache
from minivit.model.block import SITES, BlockCache, BlockSettings, block, block_backward
from minivit.model.config import ViTConfig
from minivit.model.params import BlockParams, ViTParams, named, param_specs
from minivit.ops import reference
from minivit.randomness import Key


class BlockInput(NamedTuple):
    """What a block is computed from: kept in place of its cache where the backward pass computes it again."""

    z: Array  # (B, T, D)
    params: BlockParams  # the arrays themselves: they must not change before the backward pass
    settings: BlockSettings
    key: Key | None
    tokens: int | None


class ViTCache(NamedTuple):
    """What the backward pass needs: one cache for each step, in forward order."""

    config: ViTConfig
    ops: ModuleType
    patches: PatchesCache
    embedding: LinearCache
    class_token: EmbeddingCache | None  # None without a class token
    positions: EmbeddingCache | None  # None without positions
    dropout: DropoutCache
    blocks: tuple[BlockCache | BlockInput, ...]
    norm: LayerNormCache
    pooling: PoolingCache
    head: LinearCache


def vit(
    params: ViTParams,
    images: Array,
    config: ViTConfig,
    *,
    key: Key | None = None,
    ops: ModuleType = reference,
    recompute: bool = False,
    skip_unread: bool = False,
) -> tuple[Array, ViTCache]:
    """Classify images (B, C, H, W) of the parameters' dtype: returns logits (B, classes), and the cache.

    Images that are cut already, as patches (B, N, P*P*C), do too.
    key is the address that dropout and drop path draw at, at its site and the 5 L next; without it nothing is
    dropped (evaluation). ops is the namespace of functions to compute with. With recompute the cache holds a
    block's input only, and the backward pass computes the block again: the same gradients, bit for bit, for
    less memory and a third more time. With skip_unread and a class token, the one token that the head reads, the
    others go no further than the last block's attention: the same logits and gradients up to rounding (where
    dropout is, by other masks in that block), for less time and memory.

    Raises ValueError if the images or the parameters are not of the configuration's shapes, or not of one dtype, and
    TypeError for what is no array, no parameters or no configuration.
    """
    require_kind(params, ViTParams, "vit: params", "as init_params(config) makes it")
    require_kind(config, ViTConfig, "vit: config", "such as minivit.variant('micro/4')")
    _check_params(params, config)
    _check_images(images, config, params)
    z, (patches, embedding, class_token, positions, dropout) = _embed(params, images, config, key, ops)
    block_caches: list[BlockCache | BlockInput] = []
    for i, block_params in enumerate(params.blocks):
        site = None if key is None else key.at(key.site + 1 + SITES * i)
        alone = skip_unread and config.pooling == "class_token" and i == config.depth - 1
        given = BlockInput(z, block_params, _settings(config, i), site, 1 if alone else None)
        z, cache = _run(given, ops)
        block_caches.append(given if recompute else cache)
    z, norm = ops.layer_norm(z, params.norm_gain, params.norm_bias, config.eps)
    z, pooling = ops.pool_class_token(z) if config.pooling == "class_token" else ops.pool_mean(z)
    logits, head = ops.linear(z, params.head_weight, params.head_bias)
    return logits, ViTCache(
        config, ops, patches, embedding, class_token, positions, dropout, tuple(block_caches), norm, pooling, head
    )


def vit_backward(dlogits: Array, cache: ViTCache) -> ViTParams:
    """Gradients for dlogits (B, classes): a tree of the parameters' type, float32 or wider.

    Changes no argument; the same cache may be used again. Raises ValueError if dlogits are not shaped as the logits.
    """
    return _backward(dlogits, cache)[0]


def vit_backward_with_images(dlogits: Array, cache: ViTCache) -> tuple[ViTParams, Array]:
    """Gradients (dparams, dimages) for dlogits (B, classes): also what each pixel did, (B, C, H, W)."""
    dparams, dpatches = _backward(dlogits, cache)
    return dparams, cache.ops.patchify_backward(dpatches, cache.patches)


def attention_maps(cache: ViTCache) -> list[Array]:
    """The attention probabilities of each block, (B, K, T, T): row i is what token i attends to.

    Of the last block there may be the class token's row alone, (B, K, 1, T), where skip_unread was given.
    Raises ValueError for the cache of a forward pass with recompute, which does not hold them.
    """
    if any(isinstance(block_cache, BlockInput) for block_cache in cache.blocks):
        raise ValueError("attention_maps: a cache of recompute=True holds no attention; call vit without it")
    return [b.attention.attention.p for b in cache.blocks if isinstance(b, BlockCache)]


def _run(given: BlockInput, ops: ModuleType) -> tuple[Array, BlockCache]:
    return block(given.z, given.params, given.settings, ops, given.key, given.tokens)


def _embed(
    params: ViTParams, images: Array, config: ViTConfig, key: Key | None, ops: ModuleType
) -> tuple[Array, tuple[Any, ...]]:
    """Eq. 1: tokens z (B, T, D), and the caches from `patches` to `dropout`."""
    if images.ndim == 3:
        z, patches = images, PatchesCache((len(images), config.channels, *config.image_size), config.patch_size)
    else:
        z, patches = ops.patchify(images, config.patch_size)
    z, embedding = ops.linear(z, params.patch_weight, params.patch_bias)
    class_token = positions = None
    if params.class_token is not None:
        z, class_token = ops.prepend_class_token(z, params.class_token)
    table = position_table(config, array_module(z)) if config.positions == "sincos" else params.positions
    if table is not None:
        z, positions = ops.add_positions(z, table)
    z, dropout = ops.dropout(z, config.dropout, key)
    return z, (patches, embedding, class_token, positions, dropout)


def _backward(dlogits: Array, cache: ViTCache) -> tuple[ViTParams, Array]:
    """Gradients of the parameters, and of the flattened patches (B, N, P*P*C)."""
    require_kind(cache, ViTCache, "vit_backward: cache", "the second result of vit")
    ops, expected = cache.ops, (cache.patches.image_shape[0], cache.config.classes)
    if dlogits.shape != expected:
        raise ValueError(f"vit_backward: dlogits {dlogits.shape} need the shape of the logits, {expected}")
    dz, dhead_weight, dhead_bias = ops.linear_backward(dlogits, cache.head)
    pool_backward = ops.pool_class_token_backward if cache.config.pooling == "class_token" else ops.pool_mean_backward
    dz = pool_backward(dz, cache.pooling)
    dz, dnorm_gain, dnorm_bias = ops.layer_norm_backward(dz, cache.norm)
    dblocks: list[BlockParams] = []
    for block_cache in reversed(cache.blocks):
        if isinstance(block_cache, BlockInput):
            _, block_cache = _run(block_cache, ops)
        dz, dblock = block_backward(dz, block_cache, ops)
        dblocks.append(dblock)

    dz = ops.dropout_backward(dz, cache.dropout)
    dpositions = dclass_token = None
    if cache.positions is not None:
        dz, dpositions = ops.add_positions_backward(dz, cache.positions)
    if cache.class_token is not None:
        dz, dclass_token = ops.prepend_class_token_backward(dz, cache.class_token)
    dpatches, dpatch_weight, dpatch_bias = ops.linear_backward(dz, cache.embedding)
    return ViTParams(
        patch_weight=dpatch_weight,
        patch_bias=dpatch_bias,
        class_token=dclass_token,
        positions=dpositions if cache.config.positions == "learned" else None,
        blocks=tuple(reversed(dblocks)),
        norm_gain=dnorm_gain,
        norm_bias=dnorm_bias,
        head_weight=dhead_weight,
        head_bias=dhead_bias,
    ), dpatches


def _check_images(images: Array, config: ViTConfig, params: ViTParams) -> None:
    expected, cut = (config.channels, *config.image_size), (config.patches, config.patch_values)
    if not hasattr(images, "shape"):
        raise TypeError(f"vit: images is of type {type(images).__name__}; expected an array, as numpy.asarray gives it")
    if images.shape[1:] not in (expected, cut):
        raise ValueError(f"vit: images {images.shape} need shape (B, C, H, W) with (C, H, W) = {expected}")
    # Of complex numbers (the complex-step check), which either may be, the real part counts.
    found, wanted = (real_part(x).dtype for x in (images, params.patch_weight))
    if found != wanted:
        raise ValueError(
            f"vit: images of {found} need to be normalised to the parameters' dtype first: expected {wanted}, as "
            "(images / 255 - mean) / std or astype gives it"
        )


def _check_params(params: ViTParams, config: ViTConfig) -> None:
    expected, found = _shapes(config), {name: x.shape for name, x in named(params)}
    if found != expected:
        name = next(name for name in {**found, **expected} if expected.get(name) != found.get(name))
        raise ValueError(
            f"vit: parameter {name} is {found.get(name, 'missing')}, but the configuration says "
            f"{expected.get(name, 'there is none')}; were the parameters made for another one?"
        )
    if len({x.dtype for _, x in named(params)}) > 1:  # complex ones, of the complex step, may be among real ones
        wanted = real_part(params.patch_weight).dtype
        for name, x in named(params):
            if real_part(x).dtype != wanted:
                raise ValueError(f"vit: parameter {name} is of {x.dtype}, patch_weight of {wanted}; expected one dtype")


@functools.lru_cache(maxsize=8)
def _shapes(config: ViTConfig) -> dict[str, tuple[int, ...]]:
    return {name: spec.shape for name, spec in param_specs(config).items()}


@functools.lru_cache(maxsize=8)
def position_table(config: ViTConfig, xp: Any) -> Array:
    """Sin-cos positions (T, D) as an array of xp's; the class token's are zero."""
    table = sincos_positions(config.grid, config.width)
    if config.pooling == "class_token":
        table = np.concatenate([np.zeros((1, config.width)), table])
    table.flags.writeable = False  # others get the same one
    return xp.asarray(table)


def _settings(config: ViTConfig, i: int) -> BlockSettings:
    """Block i's settings: drop path grows linearly from 0 in the first block to its full rate in the last."""
    depth_share = i / (config.depth - 1) if config.depth > 1 else 1.0
    return BlockSettings(config.heads, config.gelu, config.eps, config.dropout, config.drop_path * depth_share)
