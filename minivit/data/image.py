"""Reading one picture file as an array, upright, opaque, in colour and of the wanted size."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from minivit.arrays import Array
from minivit.errors import MinivitError

if TYPE_CHECKING:
    from PIL import Image


def read_image(path: Path, size: tuple[int, int]) -> tuple[Array, bool]:
    """Return the picture as (3, H, W) uint8 for size (H, W), and whether it had to be resized.

    A photograph's EXIF orientation is applied, transparency is put on white, 16-bit grey is scaled to
    8 bits, and another size is resized with a bilinear filter (antialiased; its aspect ratio is not
    kept). Raises MinivitError for a file that is no picture, cut off, damaged, of absurd size, or grey of
    more than 16 bits, whose white nobody knows.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    height, width = size
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):  # nobody may ever write to a pipe
            raise ValueError("it is no file")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on odd metadata say nothing about pixels
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                rgb = _opaque(ImageOps.exif_transpose(picture), picture.format)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise MinivitError(
            f"{path} has more pixels than is safe to unpack: expected at most {Image.MAX_IMAGE_PIXELS},"
            " so make it smaller or remove it"
        ) from error
    except UnidentifiedImageError as error:
        raise MinivitError(
            f"{path} ({_bytes(path)} bytes) is not a picture: expected a png, jpg, webp or bmp file, so"
            " remove or replace it"
        ) from error
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise MinivitError(
            f"{path} cannot be read ({error.strerror}): expected a png, jpg, webp or bmp file"
        ) from error
    except Exception as error:  # a damaged file raises anything: OSError, SyntaxError, struct.error ...
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        raise MinivitError(
            f"{path} cannot be read as a picture ({reason}): expected a whole png, jpg, webp or bmp file,"
            " so remove or replace it"
        ) from error
    resized = rgb.size != (width, height)
    if resized:
        rgb = rgb.resize((width, height), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(rgb).transpose(2, 0, 1)), resized


def _opaque(picture: Image.Image, file_format: str | None) -> Image.Image:
    """Return any picture as RGB, where it is transparent on white."""
    from PIL import Image

    # 16 bits are I;16, or I by Pillow's version, in formats that have no more.
    if picture.mode.startswith("I;16") or (picture.mode == "I" and file_format in ("PNG", "PPM")):
        grey = np.asarray(picture)
        see_through = grey == picture.info.get("transparency", -1)
        return Image.fromarray(np.where(see_through, 255, grey >> 8).astype(np.uint8)).convert("RGB")
    if picture.mode in ("I", "F"):
        raise ValueError("grey of more than 16 bits")
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return picture.convert("RGB")


def _bytes(path: Path) -> int:
    return path.stat().st_size
