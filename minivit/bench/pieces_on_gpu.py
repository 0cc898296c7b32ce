"""Where a step's time goes on a GPU: each fused function alone, at the sizes of a workload.

The GPU is given something long to do before the clock starts, so that the host has queued every run by then: what is
measured is the GPU's time, not the host's. Attention is measured by products, too, where the model takes tiles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from minivit.arrays import Array
from minivit.bench.timing import seconds_of
from minivit.bench.workload import Workload
from minivit.model import ViTConfig
from minivit.ops import choose_ops
from minivit.ops.cuda import attention_by_products, attention_in_tiles
from minivit.ops.cuda.loss import cross_entropy_in_part
from minivit.ops.cuda.products import exact_products
from minivit.ops.cuda.update import AdamW, augmented_patches
from minivit.training.precision import choose_precision

_RUNS = 20  # of each function, between two looks at the GPU's clock
_SIZE = 4096  # of the matrices that keep the GPU busy while those are queued


class Piece(NamedTuple):
    """One function."""

    name: str
    times: int  # in a step; 0: another way to compute what the model computes otherwise
    run: Callable[[], Any]
    moved: int  # bytes that it reads and writes at least: its arguments and its results


def measure_pieces(workload: Workload) -> dict[str, dict[str, float]]:
    """By name: `times` in a step, `seconds` of one run on the GPU, and `gb_per_s`, what it moves at least a second."""
    import cupy

    settings = workload.settings
    precision = choose_precision(settings.precision, "cuda", "cuda")
    found = {}
    with exact_products(precision.exact):
        for piece in _pieces(cupy, workload, precision.storage):
            seconds = _gpu_seconds(cupy, piece.run)
            found[piece.name] = {
                "times": piece.times,
                "seconds": seconds,
                "gb_per_s": piece.moved / seconds / 1e9,
            }
    return found


def _gpu_seconds(xp: Any, run: Callable[[], Any]) -> float:
    """Seconds of one run on the GPU, the mean of several after some that are not counted."""
    large = xp.zeros((_SIZE, _SIZE), dtype=np.float32)
    for work in (run, lambda: large @ large):
        work()
    host = _RUNS * seconds_of(run)  # at least, to queue them: the GPU may be waited for
    busy = _between_marks(xp, lambda: large @ large, 2) / 2
    for _ in range(1 + math.ceil(2 * host / busy)):
        large @ large
    return _between_marks(xp, run, _RUNS) / _RUNS


def _between_marks(xp: Any, run: Callable[[], Any], times: int) -> float:
    """Seconds that the GPU takes for so many runs; waits for them."""
    start, end = xp.cuda.Event(), xp.cuda.Event()
    start.record()
    for _ in range(times):
        run()
    end.record()
    end.synchronize()
    return float(xp.cuda.get_elapsed_time(start, end)) / 1e3


def _pieces(xp: Any, workload: Workload, storage: Any) -> Iterator[Piece]:
    """The functions of a step, forward and backward, on random numbers."""
    config, rng, ops = workload.config, np.random.default_rng(0), choose_ops("cuda", "cuda")
    depth, width, hidden = config.depth, config.width, config.mlp_width
    # Where the class token alone is read, little is left of the last block after its attention.
    whole = depth - (workload.settings.skip_unread and config.pooling == "class_token")
    tokens = (workload.batch, config.tokens, width)

    def random(*shape: int, dtype: Any = storage) -> Array:
        numbers = rng.standard_normal(shape[-2:], np.float32).astype(dtype)
        return xp.asarray(np.ascontiguousarray(np.broadcast_to(numbers, shape)))

    def pair(name: str, times: int, f: Any, f_backward: Any, arguments: tuple[Any, ...]) -> Iterator[Piece]:
        y, cache = f(*arguments)
        dy, given = random(*y.shape), _bytes(arguments)
        results = f_backward(dy, cache)
        yield Piece(name, times, lambda: f(*arguments), given + y.nbytes)
        moved = given + dy.nbytes + _bytes(results if isinstance(results, tuple) else (results,))
        yield Piece(f"{name}, backward", times, lambda: f_backward(dy, cache), moved)

    z, x = random(*tokens), random(*tokens)
    gain, bias = random(width), random(width)
    if whole == depth:
        yield from pair("final layer norm", 1, ops.layer_norm, ops.layer_norm_backward, (x, gain, bias))
    yield Piece("layer norm", depth + whole, lambda: ops.pre_norm(z, gain, bias), 2 * z.nbytes)
    norm = ops.pre_norm(z, gain, bias)[1]
    yield Piece("layer norm, backward", depth + whole, lambda: ops.pre_norm_backward(z, x, norm), 4 * z.nbytes)
    qkv = (x, random(width, 3 * width), random(3 * width))
    yield from pair("queries, keys, values", depth, ops.linear, ops.linear_backward, qkv)
    merged, heads = random(*tokens[:2], 3 * width), config.heads
    fits = attention_in_tiles.fits(x, heads)
    for name, way in (("in tiles", attention_in_tiles), ("by products", attention_by_products)):
        chosen = fits == (way is attention_in_tiles)
        if chosen or way is attention_by_products:
            arguments = (merged, random(3 * width), heads)
            yield from pair(f"attention {name}", depth * chosen, way.attention, way.attention_backward, arguments)
    yield from pair("output projection", whole, ops.linear, ops.linear_backward, (x, random(width, width), bias))
    mlp = (x, random(width, hidden), random(hidden), random(hidden, width), bias, config.gelu)
    yield from pair("MLP", whole, ops.mlp, ops.mlp_backward, mlp)
    yield Piece("residual sum", 2 * whole, lambda: ops.residual(z, x, 0.0, 0.0, None), 3 * z.nbytes)
    yield from _embedding(ops, config, z)
    yield from _ends(xp, workload, storage)


def _embedding(ops: Any, config: ViTConfig, z: Array) -> Iterator[Piece]:
    """What makes tokens z (B, T, D) of patches, and back."""
    if config.pooling == "class_token":
        x, token = z[:, 1:].copy(), z[0, 0].copy()
        cache = ops.prepend_class_token(x, token)[1]
        yield Piece("class token", 1, lambda: ops.prepend_class_token(x, token), x.nbytes + z.nbytes)
        yield Piece("class token, backward", 1, lambda: ops.prepend_class_token_backward(z, cache), 2 * x.nbytes)
    if config.positions != "none":
        table = z[0].copy()
        cache = ops.add_positions(z, table)[1]
        yield Piece("positions", 1, lambda: ops.add_positions(z, table), 2 * z.nbytes)
        yield Piece("positions, backward", 1, lambda: ops.add_positions_backward(z, cache), z.nbytes)


def _ends(xp: Any, workload: Workload, storage: Any) -> Iterator[Piece]:
    """The two ends of a step: from bytes to patches, the loss, the update."""
    from minivit.model import count_params

    config, settings, batch = workload.config, workload.settings, workload.batch
    pictures = xp.zeros((batch, config.channels, *config.image_size), dtype=np.uint8)
    index, moves = xp.arange(batch, dtype=np.int32), xp.zeros((batch, 3), dtype=np.int32)
    scale = xp.ones(config.channels, dtype=np.float32)

    def augment() -> Array:
        return augmented_patches(pictures, index, moves, scale, scale, 4, config.patch_size, storage)

    yield Piece("augmentation", 1, augment, pictures.nbytes + augment().nbytes)
    logits, labels = xp.zeros((batch, config.classes), dtype=storage), xp.zeros(batch, dtype=np.int64)
    yield Piece("loss", 1, lambda: cross_entropy_in_part(logits, labels, batch), 2 * logits.nbytes)
    params, gradient, first, second = (xp.zeros(count_params(config), dtype=np.float32) for _ in range(4))
    copy = None if storage == np.float32 else xp.zeros(params.size, dtype=storage)
    rates, step = xp.zeros((10**4, 3), dtype=np.float32), xp.zeros(1, dtype=np.int64)
    adamw = AdamW(rates, step, settings.beta1, settings.beta2, settings.adam_eps, settings.weight_decay, settings.clip)
    moved = 8 * params.nbytes + (0 if copy is None else copy.nbytes)  # the gradient is read twice

    def update() -> Array:
        return adamw(params, gradient, first, second, copy, params.size // 2)

    yield Piece("clipping and AdamW", 1, update, moved)


def _bytes(arrays: tuple[Any, ...]) -> int:
    return sum(getattr(a, "nbytes", 0) for a in arrays)
