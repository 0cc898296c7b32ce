"""How much memory a training step on a GPU needs, by arithmetic on shapes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from minivit.errors import MinivitError, is_out_of_memory
from minivit.model import ViTConfig, count_params
from minivit.ops.cuda.attention_in_tiles import room_for
from minivit.training.settings import TrainSettings


def estimated_bytes(config: ViTConfig, settings: TrainSettings) -> int:
    """Bytes that a step on a GPU needs at most at once: parameters, gradients, moments, activations.

    Counts what the fused functions keep for the backward pass. cuBLAS's workspace and the memory pool's rounding
    are not counted, nor is the data set.
    """
    stored = 2 if settings.precision == "bfloat16" else 4
    params = count_params(config)
    # Master weights, gradients flat and as the backward pass returns them, moments; and the copy that products read.
    moments = 2 if settings.optimizer == "adamw" else 1
    fixed = params * (4 * (3 + moments) + (stored if stored < 4 else 0))
    images = -(-settings.batch_size // settings.accumulate)
    stream = config.tokens * config.width
    # The stream, both norms' results, q k v, attention's result and both branches' results: 9 D a token. The MLP
    # keeps what GELU got and gave. Scores are padded to a multiple of 8; tiles never store them.
    fused = settings.precision != "float32" and settings.ops != "reference"
    in_tiles = fused and room_for(config.tokens, config.width // config.heads, stored)
    scores = 0 if in_tiles else config.heads * config.tokens * -(-config.tokens // 8) * 8
    block = 9 * stream + 2 * config.tokens * config.mlp_width + scores
    # Of the last block the stream, one norm's result, q k v and scores are kept where the class token alone is read.
    skips = settings.skip_unread and config.pooling == "class_token"
    blocks = (config.depth - skips) * block + skips * (5 * stream + scores)
    kept = config.depth * stream + block if settings.recompute else blocks
    # Masks of both branches' results and of what GELU gave: a bit a number, or a byte for the readable functions.
    masks = config.depth * (2 * stream + config.tokens * config.mlp_width) * (max(config.dropout, config.drop_path) > 0)
    masks = masks if settings.ops == "reference" else masks // 8
    # In the backward pass of one block its gradients are as large as what they belong to.
    return fixed + images * (stored * (kept + block) + masks)


@contextlib.contextmanager
def memory_suffices(config: ViTConfig, settings: TrainSettings) -> Iterator[None]:
    """Inside, memory that does not suffice raises a MinivitError which says how much is needed, and what needs less."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise MinivitError(out_of_memory(config, settings, str(error))) from error


def out_of_memory(config: ViTConfig, settings: TrainSettings, error: str) -> str:
    """What to say when the GPU's memory does not suffice: how much is needed, and what needs less."""
    needed = estimated_bytes(config, settings) / 2**30
    part = -(-settings.batch_size // settings.accumulate)
    advice = [f"--accumulate {2 * settings.accumulate}", f"--batch-size {settings.batch_size // 2}"] if part > 1 else []
    advice += [] if settings.recompute else ["--recompute"]
    advice += [] if settings.precision == "bfloat16" else ["--precision bfloat16"]
    return (
        f"the GPU's memory does not suffice: {error.strip().rstrip('.')}; "
        f"{part} images at once need about {needed:.2g} GiB; "
        f"need less with {' or '.join(advice) or 'a smaller model'}"
    )
