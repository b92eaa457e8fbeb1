"""From a picture that was opened to its pixels as they are shown: eight bits, opaque, upright.

Shape suffixes: ``H`` and ``W`` rows and columns, ``C`` channels.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from reslab.catalog.datasets import Background

# Pixels that are turned to grey or RGB at once: what that takes is small beside the picture.
_BAND = 2**20


def is_grey(image: Image.Image) -> bool:
    """Whether it is stored without colours."""
    return image.mode in {"1", "L", "LA"} or image.mode.startswith("I")


def orientation_of(image: Image.Image) -> int:
    """How a picture lies, by its EXIF or XMP: 1 (upright) to 8; 1 where they cannot be read."""
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001 - whatever is in there, the pixels are good
        return 1
    return next((known for known in range(1, 9) if known == found), 1)


def turn(pixels_HWC: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    """A view of the pixels, turned and mirrored as an orientation of EXIF asks for.

    >>> turn(np.array([[[1], [2], [3]]], np.uint8), 6).tolist()
    [[[1]], [[2]], [[3]]]
    >>> turn(np.array([[[1], [2], [3]]], np.uint8), 3).tolist()
    [[[3], [2], [1]]]
    """
    if orientation >= 5:
        pixels_HWC = pixels_HWC.transpose(1, 0, 2)
    down = -1 if orientation in (3, 4, 7, 8) else 1
    across = -1 if orientation in (2, 3, 6, 7) else 1
    return pixels_HWC[::down, ::across]


def flat_pixels(
    image: Image.Image, channels: int, background: Background, *, factor: int = 1
) -> npt.NDArray[np.uint8]:
    """Pixels (H, W, C) of a picture that is not turned yet, 16 bits scaled to 8.

    Args:
        image: any that was opened.
        channels: 1 for grey, 3 for RGB.
        background: what transparent pixels are laid on.
        factor: squares with this side become their mean.
    """
    height, width = -(-image.height // factor), -(-image.width // factor)
    pixels_HWC = np.empty((height, width, channels), np.uint8)
    top = 0
    for band in _bands(image, factor):
        flat = _flatten(band, background).convert("L" if channels == 1 else "RGB")
        rows_HWC = np.asarray(flat if factor == 1 else flat.reduce(factor))
        bottom = top + len(rows_HWC)
        pixels_HWC[top:bottom] = rows_HWC.reshape(-1, width, channels)
        top = bottom
    return pixels_HWC


def opacity_of(image: Image.Image) -> tuple[int, int]:
    """Least and greatest opacity of the pixels, 0 to 255."""
    if not image.has_transparency_data:
        return 255, 255
    found = [
        np.asarray(_eight_bits(band).convert("RGBA").getchannel("A").getextrema())
        for band in _bands(image)
    ]
    return int(np.min(found)), int(np.max(found))


def _bands(image: Image.Image, factor: int = 1) -> Iterator[Image.Image]:
    """The picture in pieces of whole rows, whose number the factor divides but for the last."""
    rows = max(1, _BAND // image.width // factor) * factor
    if rows >= image.height:
        yield image
        return
    for top in range(0, image.height, rows):
        yield image.crop((0, top, image.width, min(top + rows, image.height)))


def _flatten(image: Image.Image, background: Background) -> Image.Image:
    """Without transparency, of eight bits a channel, in a mode that can be converted."""
    image = _eight_bits(image)
    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, background), image)


def _eight_bits(image: Image.Image) -> Image.Image:
    """The upper 8 of 16 bits, which Pillow would clip instead."""
    if not image.mode.startswith("I;16"):
        return image
    levels_HW = np.asarray(image)
    scaled = Image.fromarray((levels_HW >> 8).astype(np.uint8))
    if "transparency" in image.info:
        # One level of 16 bits stands for nothing at all.
        opaque_HW = levels_HW != image.info["transparency"]
        scaled.putalpha(Image.fromarray(opaque_HW.astype(np.uint8) * np.uint8(255)))
    return scaled
