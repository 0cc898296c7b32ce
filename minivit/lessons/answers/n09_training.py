"""Answers to notebooks/09_training.ipynb."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from minivit.arrays import Array
from minivit.gradcheck.catalog import normal
from minivit.lessons.exercise import Exercise, function_exercise
from minivit.lessons.slips import Slip, naming_slips


def cost_of(image_size: int, patch_size: int, channels: int, width: int, depth: int, mlp_width: int) -> tuple[int, int]:
    """Tokens of a square image (C, H, H), and the multiply-adds of its forward pass.

    All matrix products of the embedding and the blocks are counted; no class token, and no head.
    """
    tokens = (image_size // patch_size) ** 2
    embedding = tokens * patch_size * patch_size * channels * width
    qkv, out = tokens * width * 3 * width, tokens * width * width
    scores, weighted_sum = tokens * tokens * width, tokens * tokens * width
    fc1, fc2 = tokens * width * mlp_width, tokens * mlp_width * width
    return tokens, embedding + depth * (qkv + scores + weighted_sum + out + fc1 + fc2)


def mixup(images: Array, targets: Array, order: Array, share: Array) -> tuple[Array, Array]:
    """Mix images (B, C, H, W) and targets (B, classes): `share` () of each, the rest from its partner at order (B,)."""
    rest = 1.0 - share
    return share * images + rest * images[order], share * targets + rest * targets[order]


def cutmix(images: Array, targets: Array, order: Array, box: tuple[int, int, int, int]) -> tuple[Array, Array]:
    """Paste a box of each partner, at order (B,), into images (B, C, H, W); mix targets (B, classes) by its area.

    box is (top, left, height, width), inside the image. Changes no argument.
    """
    top, left, height, width = box
    rows, columns = slice(top, top + height), slice(left, left + width)
    mixed = images.copy()
    mixed[:, :, rows, columns] = images[order][:, :, rows, columns]
    pasted = height * width / (images.shape[2] * images.shape[3])
    return mixed, (1.0 - pasted) * targets + pasted * targets[order]


def _cost(
    height: int,
    patch: int,
    channels: int,
    width: int,
    depth: int,
    hidden: int,
    *,
    power: int = 2,
    class_token: int = 0,
    embedding: int = 1,
    squares: int = 4,
    products: int = 2,
    quadratic: bool = True,
    layers: int = 2,
    operations: int = 1,
) -> tuple[int, int]:
    """`cost_of` with room for slips."""
    tokens = (height // patch) ** power + class_token
    block = tokens * width * (squares * width + products * (tokens if quadratic else 1) + layers * hidden)
    return tokens, operations * (embedding * tokens * patch * patch * channels * width + depth * block)


def _mixed(x: Array, partners: Array, share: Any) -> Array:
    return share * x + (1.0 - share) * partners


def _pasted(x: Array, partners: Array, top: int, left: int, bottom: int, right: int) -> Array:
    """x (B, C, H, W) with rows top .. bottom - 1 and columns left .. right - 1 of its partners."""
    mixed = x.copy()
    mixed[:, :, top:bottom, left:right] = partners[:, :, top:bottom, left:right]
    return mixed


def _area(x: Array, box: tuple[int, int, int, int]) -> float:
    return box[2] * box[3] / (x.shape[2] * x.shape[3])


_COST_SLIPS: list[Slip] = [
    ("a square image has (image_size // patch_size) ** 2 patches", partial(_cost, power=1)),
    ("a class token is counted: leave it out", partial(_cost, class_token=1)),
    ("attention is quadratic: its two products take T * T * D each", partial(_cost, quadratic=False)),
    ("attention has two products of T * T * D: scores and weighted sum", partial(_cost, products=1)),
    ("attention's two products are missing: T * T * D each", partial(_cost, products=0)),
    ("T * D * D is counted 3 times; q, k, v and out make 4", partial(_cost, squares=3)),
    ("the embedding is missing: N patches of P * P * C numbers meet D columns", partial(_cost, embedding=0)),
    ("one layer of the MLP is counted: it has two, D * F each for a token", partial(_cost, layers=1)),
    (
        "the channels are missing: a patch has P * P * C numbers",
        lambda h, p, c, d, depth, f: _cost(h, p, 1, d, depth, f),
    ),
    ("one block is counted: there are `depth`", lambda h, p, c, d, depth, f: _cost(h, p, c, d, 1, f)),
    ("a multiplication with its addition counts once, not twice", partial(_cost, operations=2)),
]
_MIXUP_SLIPS: list[Slip] = [
    ("not mixed: the partners are missing", lambda x, t, order, share: (x, t)),
    ("the shares are swapped: `share` is an image's own", lambda x, t, order, share: mixup(x, t, order, 1.0 - share)),
    (
        "order is read backwards: the partner of image i is image order[i]",
        lambda x, t, order, share: mixup(x, t, np.argsort(order), share),
    ),
    (
        "the partner is not the image at order[i], but the one opposite",
        lambda x, t, order, share: (_mixed(x, x[::-1], share), _mixed(t, t[::-1], share)),
    ),
    (
        "the partner's share is 1 - share, not 1",
        lambda x, t, order, share: (share * x + x[order], share * t + t[order]),
    ),
    ("the shares are missing: this is the sum", lambda x, t, order, share: (x + x[order], t + t[order])),
]
_CUTMIX_SLIPS: list[Slip] = [
    ("the same as given: nothing comes from the partners", lambda x, t, order, box: (x, t)),
    (
        "the shares are swapped: the box's share of the area is the partner's",
        lambda x, t, order, box: (_pasted(x[order], x, *_ends(box)), _mixed(t, t[order], _area(x, box))),
    ),
    (
        "the share goes by the box's area, not by its height",
        lambda x, t, order, box: (x, _mixed(t, t[order], 1.0 - box[2] / x.shape[2])),
    ),
    (
        "the share goes by the box's area, not by its width",
        lambda x, t, order, box: (x, _mixed(t, t[order], 1.0 - box[3] / x.shape[3])),
    ),
    ("mixed half and half: the share goes by the box's area", lambda x, t, order, box: (x, _mixed(t, t[order], 0.5))),
    (
        "rows and columns are swapped: box is (top, left, height, width)",
        lambda x, t, order, box: cutmix(x, t, order, (box[1], box[0], box[3], box[2])),
    ),
    (
        "the box ends before row top + height and column left + width",
        lambda x, t, order, box: (_pasted(x, x[order], *box), t),
    ),
    (
        "order is read backwards: the partner of image i is image order[i]",
        lambda x, t, order, box: cutmix(x, t, np.argsort(order), box),
    ),
]


def _ends(box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) of a box (top, left, height, width)."""
    return box[0], box[1], box[0] + box[2], box[1] + box[3]


_ORDER = np.array([2, 0, 3, 1])  # no swap of two: read backwards it is another order
_TARGETS = np.array([[0.9, 0.1, 0.0], [0.0, 0.2, 0.8], [0.3, 0.7, 0.0], [0.5, 0.1, 0.4]])
_COST_CASES = ((24, 4, 3, 20, 2, 50), (32, 8, 1, 12, 5, 24))
_MIXUP_CASES = (
    (normal(1, 4, 2, 5, 3), _TARGETS, _ORDER, np.array(0.7)),
    (normal(4, 4, 1, 3, 6), _TARGETS[::-1], np.array([1, 3, 0, 2]), np.array(0.15)),
)
_CUTMIX_CASES = (  # a partner is asked twice: of a permutation, any box leaves all numbers there, in another order
    (normal(2, 4, 2, 5, 7), _TARGETS, np.array([2, 0, 3, 0]), (1, 2, 3, 4)),
    (normal(3, 4, 2, 6, 5), _TARGETS, np.array([1, 3, 1, 2]), (0, 3, 4, 2)),
)


def _exercise(
    title: str, f: Callable[..., Any], cases: Sequence[Sequence[Any]], slips: Sequence[Slip], names: Sequence[str]
) -> Exercise:
    return naming_slips(function_exercise(title, f, *cases, names=names), cases, slips, names)


EXERCISES = {
    "9.1": _exercise("what a patch size costs", cost_of, _COST_CASES, _COST_SLIPS, ("tokens", "multiply-adds")),
    "9.2": _exercise("mixup", mixup, _MIXUP_CASES, _MIXUP_SLIPS, ("images", "targets")),
    "9.3": _exercise("CutMix", cutmix, _CUTMIX_CASES, _CUTMIX_SLIPS, ("images", "targets")),
}
