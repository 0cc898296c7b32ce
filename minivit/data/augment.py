"""Augmentation: a random crop of the zero-padded image and a random horizontal flip.

Source: He et al. 2016 (arXiv:1512.03385), section 4.2: 4 pixels are padded on each side, and a
32x32 crop is sampled from the padded image or its horizontal flip.
"""

from __future__ import annotations

from minivit.arrays import Array, array_module
from minivit.errors import MinivitError
from minivit.randomness import Key, generator


def random_crop_and_flip(images: Array, key: Key, crop_padding: int = 4, flip: bool = True) -> Array:
    """Return images (B, C, H, W) uint8, each shifted by up to crop_padding pixels and half mirrored.

    The same key gives the same result. crop_padding=0 switches the crop off, flip=False the flip;
    neither changes what the other draws. Changes no argument and runs where the images are.

    Raises MinivitError if crop_padding is negative.
    """
    if crop_padding < 0:
        raise MinivitError(f"random_crop_and_flip: crop_padding {crop_padding} is negative; 0 switches it off")
    xp = array_module(images)
    B, _, H, W = images.shape
    top, left, mirrored = crop_and_flip_moves(B, key, crop_padding)
    if crop_padding:
        sides = (crop_padding, crop_padding)
        padded = xp.pad(images, ((0, 0), (0, 0), sides, sides))
        # A view (B, C, 2p+1, 2p+1, H, W) of every possible crop; indexing copies one of each image.
        crops = xp.lib.stride_tricks.sliding_window_view(padded, (H, W), axis=(2, 3))
        images = crops[xp.arange(B), :, xp.asarray(top), xp.asarray(left)]
    if flip:
        images = xp.where(xp.asarray(mirrored)[:, None, None, None], images[..., ::-1], images)
    return images if crop_padding or flip else images.copy()


def crop_and_flip_moves(count: int, key: Key, crop_padding: int) -> tuple[Array, Array, Array]:
    """Where the crops of `count` images begin, (top, left), from 0 to 2 crop_padding, and which are mirrored, (count,).

    Drawn on the host: a CPU and a GPU see the same images.
    """
    rng = generator(key)
    mirrored = rng.random(count) < 0.5
    top, left = rng.integers(0, 2 * crop_padding + 1, (2, count))
    return top, left, mirrored
