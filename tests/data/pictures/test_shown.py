"""How an opened picture is shown, told from how it is stored."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from reslab.data.pictures import shown
from reslab.data.pictures.shown import flat_pixels, opacity_of, orientation_of, turn

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (5, 7, 3)).astype(np.uint8)
XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="%d"/></x:xmpmeta>'


def stored(image: Image.Image, file_format: str = "PNG", **options: object) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return Image.open(stream)


def with_orientation(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_pillow_turns_it(orientation: int) -> None:
    image = stored(Image.fromarray(PIXELS), exif=with_orientation(orientation))
    assert orientation_of(image) == orientation
    expected = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(turn(flat_pixels(image, 3, "grey"), orientation), expected)


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_an_orientation_that_there_is_not_is_upright(orientation: int) -> None:
    image = stored(Image.fromarray(PIXELS), exif=with_orientation(orientation))
    assert orientation_of(image) == 1


@pytest.mark.parametrize("file_format", ["JPEG", "WEBP"])
def test_xmp_tells_the_orientation_where_exif_does_not(file_format: str) -> None:
    image = Image.fromarray(PIXELS)
    assert orientation_of(stored(image, file_format, xmp=XMP % 6)) == 6
    both = stored(image, file_format, xmp=XMP % 6, exif=with_orientation(8))
    assert orientation_of(both) == 8


def transparent_level() -> Image.Image:
    """A grey PNG of 16 bits, of which one level stands for nothing."""
    levels = np.array([[0x1234, 0x1235], [0xFFFF, 0]], np.uint16)
    return stored(Image.fromarray(levels), transparency=0x1234)


def test_one_transparent_level_of_16_bits() -> None:
    image = transparent_level()
    assert (image.mode, image.info["transparency"]) == ("I;16", 0x1234)
    assert opacity_of(image) == (0, 255)
    pixels = flat_pixels(transparent_level(), 1, "white")[..., 0]
    assert pixels.tolist() == [[255, 0x12], [255, 0]]


OPACITIES = {
    "RGB": (255, 255),
    "RGBA": (3, 250),
    "LA": (3, 250),
    "P": (0, 255),
}


@pytest.mark.parametrize("mode", OPACITIES)
def test_opacity(mode: str) -> None:
    image = Image.fromarray(PIXELS)
    if mode == "P":
        image = image.quantize(8)
        image = stored(image, transparency=int(np.asarray(image)[0, 0]))
    elif mode != "RGB":
        image = image.convert(mode)
        image.putalpha(Image.fromarray(np.linspace(3, 250, 35).astype(np.uint8).reshape(5, 7)))
    assert opacity_of(image) == OPACITIES[mode]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "I;16"])
@pytest.mark.parametrize("factor", [1, 4])
def test_in_pieces_it_is_the_same(mode: str, factor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    levels = RNG.integers(0, 256, (37, 21, 4)).astype(np.uint8)
    image = Image.fromarray(levels).convert("RGB" if mode in ("P", "CMYK") else "RGBA")
    if mode == "I;16":
        image = Image.fromarray(levels[..., 0].astype(np.uint16) * 257)
    else:
        image = image.convert(mode)
    whole = flat_pixels(image, 3, "black", factor=factor), opacity_of(image)
    monkeypatch.setattr(shown, "_BAND", 100)
    pieces = flat_pixels(image, 3, "black", factor=factor), opacity_of(image)
    assert np.array_equal(whole[0], pieces[0]) and whole[1] == pieces[1]
    assert whole[0].shape == (-(-37 // factor), -(-21 // factor), 3)


def test_a_smaller_one_is_the_mean_of_what_is_shown() -> None:
    colours = np.zeros((2, 2, 4), np.uint8)
    colours[0, 0] = (200, 200, 200, 255)
    pixels = flat_pixels(Image.fromarray(colours), 1, "black", factor=2)
    assert pixels.tolist() == [[[50]]]
