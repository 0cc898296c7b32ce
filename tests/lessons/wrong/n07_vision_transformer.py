"""Wrong answers to the exercises of 07."""

import numpy as np

from minivit.functions import patchify, unpatchify
from minivit.lessons.answers.n07_vision_transformer import (
    parameter_count,
    pool_patches,
    pool_patches_backward,
    shuffle_patches,
)


def with_all_tokens(x):
    return x.mean(1), x.shape[1]


def divided_by_all(x):
    return x[:, 1:].sum(1) / x.shape[1], x.shape[1]


def class_token_alone(x):
    return x[:, 0], x.shape[1]


def gradient_with_all(dy, tokens):
    return np.repeat(dy[:, None] / tokens, tokens, axis=1)


def gradient_divided_by_all(dy, tokens):
    return pool_patches_backward(dy, tokens) * (tokens - 1) / tokens


def gradient_not_divided(dy, tokens):
    return pool_patches_backward(dy, tokens) * (tokens - 1)


def gradient_to_class_token(dy, tokens):
    return np.repeat(dy[:, None] / (tokens - 1), tokens, axis=1)


def gradient_of_patches_alone(dy, tokens):
    return np.repeat(dy[:, None] / (tokens - 1), tokens - 1, axis=1)


def inverse_order(images, patch_size, order):
    return shuffle_patches(images, patch_size, np.argsort(order))


def patches_not_images(images, patch_size, order):
    return patchify(images, patch_size)[0][:, order]


def size_swapped(images, patch_size, order):
    patches = patchify(images, patch_size)[0][:, order]
    return unpatchify(patches, images.shape[:1:-1], patch_size[::-1])[0]


def images_shuffled(images, patch_size, order):
    patches = patchify(images, patch_size)[0][:, :, ::-1][:, order]
    return unpatchify(patches, images.shape[2:], patch_size)[0]


def order_ignored(images, patch_size, order):
    return images


def with_its_cache(images, patch_size, order):
    return unpatchify(patchify(images, patch_size)[0][:, order], images.shape[2:], patch_size)


def in_place(images, patch_size, order):
    images[...] = shuffle_patches(images, patch_size, order)
    return images


def counted(change):
    """The right count, changed by change(patches, channels, classes, width, depth, mlp_width)."""

    def count(image_size, patch_size, channels, classes, width, depth, mlp_width):
        patches = (image_size[0] // patch_size[0]) * (image_size[1] // patch_size[1])
        right = parameter_count(image_size, patch_size, channels, classes, width, depth, mlp_width)
        return right + change(patches, channels, classes, width, depth, mlp_width)

    return count


def mlp_width_ignored(image_size, patch_size, channels, classes, width, depth, mlp_width):
    return parameter_count(image_size, patch_size, channels, classes, width, depth, 4 * width)


WRONG = {
    "7.1": [
        ((divided_by_all, gradient_divided_by_all), "divided by T: without the class token there are T - 1"),
        ((lambda x: (x[:, 1:].sum(1), x.shape[1]), gradient_not_divided), "the sum of the patches"),
        ((with_all_tokens, gradient_with_all), "the class token is in the mean"),
        ((with_all_tokens, pool_patches_backward), "the class token is in the mean"),
        ((class_token_alone, gradient_to_class_token), "this is the class token"),
        ((pool_patches, gradient_not_divided), "= T - 1"),
        ((pool_patches, gradient_divided_by_all), "(T - 1) / T"),
        ((pool_patches, gradient_to_class_token), "right but for index 0 of axis 1 (T)"),
        ((pool_patches, gradient_of_patches_alone), "where the argument has"),
    ],
    "7.2": [
        ((inverse_order,), "here patch n went to place order[n]"),
        ((patches_not_images,), "where the right result has"),
        ((size_swapped,), "where the right result has"),
        ((images_shuffled,), "the right numbers in another order"),
        ((order_ignored,), "the right numbers in another order"),
        ((with_its_cache,), "result is a tuple; expected numbers"),
        ((in_place,), "an argument was changed"),
    ],
    "7.3": [
        ((counted(lambda n, c, k, d, blocks, f: -d),), "192 too few: the class token's position"),
        (
            (counted(lambda n, c, k, d, blocks, f: -(d + blocks * (5 * d + f) + k)),),
            "too few: all biases of linear layers",
        ),
        ((counted(lambda n, c, k, d, blocks, f: -blocks * (d * d + d)),), "too few: the projection after attention"),
        ((counted(lambda n, c, k, d, blocks, f: -blocks * 4 * d),), "too few: the blocks' layer norms"),
        (
            (counted(lambda n, c, k, d, blocks, f: -2 * d),),
            "too few: the class token and its position, or the last layer norm",
        ),
        (
            (counted(lambda n, c, k, d, blocks, f: -(blocks - 1) * (4 * d * d + 9 * d + 2 * d * f + f)),),
            "all blocks but one",
        ),
        ((counted(lambda n, c, k, d, blocks, f: d),), "192 too many: the class token's position"),
        ((counted(lambda n, c, k, d, blocks, f: blocks * f),), "too many: fc1_bias of all blocks"),
        ((counted(lambda n, c, k, d, blocks, f: n * k + 1),), "where 5717416 is right"),
        ((mlp_width_ignored,), "for the sizes ((12, 10), (4, 2), 3, 7, 26, 5, 39) it is"),
        ((lambda *sizes: None,), "the function returned None"),
    ],
}
