"""Reading one picture."""

import os
import threading

import numpy as np
import pytest
from PIL import Image

from minivit.data import read_image
from minivit.errors import MinivitError

RNG = np.random.default_rng(0)


def picture(height=6, width=8):
    return RNG.integers(0, 256, (height, width, 3), np.uint8)


def refusal(path, size=(6, 8)):
    with pytest.raises(MinivitError) as caught:
        read_image(path, size)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("suffix", ["png", "bmp", "webp", "PNG"])
def test_pixels_come_back_channels_first(tmp_path, suffix):
    pixels, path = picture(), tmp_path / f"x.{suffix}"
    Image.fromarray(pixels).save(path, lossless=True)
    image, resized = read_image(path, (6, 8))
    np.testing.assert_array_equal(image, pixels.transpose(2, 0, 1))
    assert (image.dtype, image.flags.c_contiguous, resized) == (np.uint8, True, False)


def test_another_size_is_resized_and_said(tmp_path):
    ramp = np.broadcast_to(np.arange(0, 160, 10, dtype=np.uint8)[None, :, None], (12, 16, 3))
    Image.fromarray(ramp).save(tmp_path / "x.png")
    image, resized = read_image(tmp_path / "x.png", (6, 8))
    assert (image.shape, resized) == ((3, 6, 8), True)
    np.testing.assert_allclose(image[0, 0, 1:-1], np.arange(5, 160, 20)[1:-1], atol=1)


def test_resizing_is_bilinear(tmp_path):
    """A step between two pixels becomes a straight line, without the overshoot of a cubic one."""
    Image.fromarray(np.array([[[0] * 3, [200] * 3]], np.uint8)).save(tmp_path / "step.png")
    image, _ = read_image(tmp_path / "step.png", (1, 8))
    np.testing.assert_allclose(image[0, 0], [0, 0, 25, 75, 125, 175, 200, 200], atol=1)


def test_transparency_is_put_on_white(tmp_path):
    rgba = np.zeros((6, 8, 4), np.uint8)
    rgba[..., 3] = [0, 255, 128, 0, 0, 0, 0, 0]
    Image.fromarray(rgba).save(tmp_path / "rgba.png")
    assert read_image(tmp_path / "rgba.png", (6, 8))[0][1, 2, :4].tolist() == [255, 0, 127, 255]
    Image.fromarray(rgba[..., [0, 3]]).save(tmp_path / "grey.png")
    assert read_image(tmp_path / "grey.png", (6, 8))[0][2, 0, :2].tolist() == [255, 0]
    palette = Image.new("P", (8, 6), 1)
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.save(tmp_path / "palette.png", transparency=1)
    assert (read_image(tmp_path / "palette.png", (6, 8))[0] == 255).all()
    palette.save(tmp_path / "opaque.png")
    assert read_image(tmp_path / "opaque.png", (6, 8))[0][:, 0, 0].tolist() == [40, 50, 60]


def test_grey_of_8_and_16_bits(tmp_path):
    grey = RNG.integers(0, 256, (6, 8), np.uint8)
    Image.fromarray(grey).save(tmp_path / "8.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "16.png")
    (tmp_path / "16.pgm").write_bytes(b"P5 8 6 65535 " + (grey.astype(">u2") * 257).tobytes())
    for name in ("8.png", "16.png", "16.pgm"):
        np.testing.assert_array_equal(read_image(tmp_path / name, (6, 8))[0], np.stack([grey] * 3))


def test_a_grey_of_16_bits_that_stands_for_nothing_is_white(tmp_path):
    grey = np.array([[0, 257 * 9, 257 * 200, 257 * 9 + 1]], np.uint16)
    Image.fromarray(grey).save(tmp_path / "16.png", transparency=257 * 9)
    assert read_image(tmp_path / "16.png", (1, 4))[0][0, 0].tolist() == [0, 255, 200, 9]


@pytest.mark.parametrize("value", [np.int32(1 << 16), np.int32(255), np.float32(0.5)])
def test_grey_of_more_than_16_bits_is_refused(tmp_path, value):
    Image.fromarray(np.full((6, 8), value)).save(tmp_path / "x.tif")
    with pytest.raises(MinivitError, match=r"x\.tif cannot be read as a picture \(grey of more"):
        read_image(tmp_path / "x.tif", (6, 8))


def test_a_photographs_orientation_is_applied(tmp_path):
    pixels = picture()
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: the top of the scene is on the right
    Image.fromarray(pixels).save(tmp_path / "x.png", exif=exif)
    image, resized = read_image(tmp_path / "x.png", (8, 6))
    np.testing.assert_array_equal(image, np.rot90(pixels, -1).transpose(2, 0, 1))
    assert not resized


@pytest.mark.parametrize("contents", [b"", b"no picture at all"])
def test_what_is_no_picture_is_refused(tmp_path, contents):
    (tmp_path / "x.png").write_bytes(contents)
    assert f"({len(contents)} bytes) is not a picture" in refusal(tmp_path / "x.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp"])
def test_a_cut_picture_is_refused(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(picture(64, 64)).save(path)
    path.write_bytes(path.read_bytes()[:-400])
    assert "picture" in refusal(path)


def test_a_damaged_picture_is_refused(tmp_path):
    path = tmp_path / "x.png"
    Image.fromarray(picture(64, 64)).save(path)
    contents = bytearray(path.read_bytes())
    contents[2000:2010] = bytes(10)
    path.write_bytes(contents)
    assert "cannot be read as a picture" in refusal(path)


@pytest.mark.parametrize("most", [30, 20])  # 48 pixels: Pillow warns above `most`, and fails above twice that
def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch, most):
    Image.fromarray(picture()).save(tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)
    assert f"more pixels than is safe to unpack: expected at most {most}" in refusal(tmp_path / "x.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    pipe = tmp_path / "x.png"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(bytes(64),), daemon=True)
    writer.start()  # whoever reads the pipe all the same comes to an end, and fails
    assert "cannot be read as a picture (it is no file)" in refusal(pipe)
    end = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    writer.join()
    os.close(end)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    assert "No such file" in refusal(tmp_path / "none.png")
    assert "cannot be read" in refusal(tmp_path)
