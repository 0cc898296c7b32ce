"""Wrong answers to the exercises of 09."""

import numpy as np

from minivit.lessons.answers.n09_training import cost_of, cutmix, mixup


def counted(patches, values, width, depth, hidden, qkv=3, quadratic=True, layers=2):
    pairs = patches if quadratic else 1
    block = patches * width * ((qkv + 1) * width + 2 * pairs + layers * hidden)
    return patches, patches * values * width + depth * block


def linear_attention(image_size, patch_size, channels, *more):
    return counted((image_size // patch_size) ** 2, patch_size**2 * channels, *more, quadratic=False)


def one_side(image_size, patch_size, channels, *more):
    return counted(image_size // patch_size, patch_size**2 * channels, *more)


def two_of_qkv(image_size, patch_size, channels, *more):
    return counted((image_size // patch_size) ** 2, patch_size**2 * channels, *more, qkv=2)


def with_class_token(image_size, patch_size, channels, *more):
    return counted((image_size // patch_size) ** 2 + 1, patch_size**2 * channels, *more)


def one_mlp_layer(image_size, patch_size, channels, *more):
    return counted((image_size // patch_size) ** 2, patch_size**2 * channels, *more, layers=1)


def grey(image_size, patch_size, channels, *more):
    return counted((image_size // patch_size) ** 2, patch_size**2, *more)


def no_embedding(image_size, patch_size, channels, *more):
    return counted((image_size // patch_size) ** 2, 0, *more)


def one_block(image_size, patch_size, channels, width, depth, hidden):
    return cost_of(image_size, patch_size, channels, width, 1, hidden)


def flops(*sizes):
    tokens, products = cost_of(*sizes)
    return tokens, 2 * products


def targets_left(images, targets, order, share):
    return mixup(images, targets, order, share)[0], targets


def partner_not_permuted(images, targets, order, share):
    return mixup(images, targets, order, share)[0], share * targets + (1 - share) * targets


def partner_reversed(images, targets, order, share):
    return mixup(images, targets, order, share)[0], share * targets + (1 - share) * targets[::-1]


def mixed_in_place(images, targets, order, share):
    partners = images[order]
    images *= share
    images += (1 - share) * partners
    return images, share * targets + (1 - share) * targets[order]


def pasted_in_place(images, targets, order, box):
    top, left, height, width = box
    partners = images[order]
    images[:, :, top : top + height, left : left + width] = partners[:, :, top : top + height, left : left + width]
    area = height * width / (images.shape[2] * images.shape[3])
    return images, (1 - area) * targets + area * targets[order]


def share_of(images, targets, order, share):
    """CutMix's targets with another share of the partner."""
    return (1 - share) * targets + share * targets[order]


def cut_swapped(images, targets, order, box):
    area = box[2] * box[3] / (images.shape[2] * images.shape[3])
    return cutmix(images, targets, order, box)[0], share_of(images, targets, order, 1 - area)


def cut_by_side(images, targets, order, box):
    return cutmix(images, targets, order, box)[0], share_of(images, targets, order, box[2] / images.shape[2])


def cut_from_itself(images, targets, order, box):
    return images.copy(), cutmix(images, targets, order, box)[1]


def cut_by_corners(images, targets, order, box):
    top, left, bottom, right = box
    mixed = images.copy()
    mixed[:, :, top:bottom, left:right] = images[order, :, top:bottom, left:right]
    return mixed, cutmix(images, targets, order, box)[1]


def cut_left_before_top(images, targets, order, box):
    return cutmix(images, targets, order, (box[1], box[0], box[2], box[3]))


def cut_one_too_far(images, targets, order, box):
    top, left, height, width = box
    return cutmix(images, targets, order, (top, left, height + 1, width + 1))[0], cutmix(images, targets, order, box)[1]


def cut_columns_first(images, targets, order, box):
    return cutmix(images, targets, order, (box[1], box[0], box[3], box[2]))


WRONG = {
    "9.1": [
        ((linear_attention,), "attention is quadratic"),
        ((one_side,), "(image_size // patch_size) ** 2 patches"),
        ((two_of_qkv,), "T * D * D is counted 3 times"),
        ((with_class_token,), "a class token is counted"),
        ((no_embedding,), "the embedding is missing"),
        ((one_block,), "one block is counted"),
        ((one_mlp_layer,), "one layer of the MLP is counted"),
        ((grey,), "the channels are missing"),
        ((flops,), "counts once, not twice"),
        ((lambda *sizes: (cost_of(*sizes)[0], 3 * cost_of(*sizes)[1]),), "off by the factor 3"),
        ((lambda *sizes: cost_of(*sizes)[1],), "expected 2: tokens, multiply-adds"),
    ],
    "9.2": [
        ((targets_left,), "not mixed: the partners are missing"),
        ((partner_not_permuted,), "not mixed: the partners are missing"),
        ((partner_reversed,), "the one opposite"),
        ((lambda x, t, order, share: mixup(x, t, order, 1 - share),), "the shares are swapped"),
        ((lambda x, t, order, share: mixup(x, t, np.argsort(order), share),), "order is read backwards"),
        ((lambda x, t, order, share: (x + x[order], t + t[order]),), "the shares are missing"),
        ((mixed_in_place,), "an argument was changed"),
        ((lambda x, t, order, share: mixup(x, t, order, share)[0],), "expected 2: images, targets"),
    ],
    "9.3": [
        ((cut_swapped,), "the shares are swapped"),
        ((cut_by_side,), "not by its height"),
        ((cut_from_itself,), "nothing comes from the partners"),
        ((cut_by_corners,), "the box ends before row top + height"),
        ((cut_columns_first,), "rows and columns are swapped"),
        ((cut_left_before_top,), "numbers; first wrong at"),
        ((cut_one_too_far,), "numbers; first wrong at"),
        ((lambda x, t, order, box: (cutmix(x, t, order, box)[0], t),), "the same as given"),
        ((pasted_in_place,), "an argument was changed"),
    ],
}
