"""From an image file to the pixels that a net was trained on: the one decoder."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image, UnidentifiedImageError

from reslab.catalog.datasets import Background, FitPolicy
from reslab.data.pictures.jpeg import JPEGS, is_plain
from reslab.data.pictures.reading import MAX_PIXELS, read_file
from reslab.data.pictures.room import Room
from reslab.data.pictures.shown import flat_pixels, orientation_of, turn
from reslab.errors import UserError
from reslab.ops.resample import scale_picture

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")
# Of pictures that are not read.
OTHER_SUFFIXES = (".tif", ".tiff", ".avif", ".heic", ".heif", ".jxl", ".jp2", ".ppm", ".svg")

# A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where that leaves so many pixels for each one
# of the result, in rows and in columns, so that scaling still has enough to average over.
_SPARE = 2

# Pictures from so many pixels on are made smaller in the same way, whatever their format.
_LARGE = 16_000_000

# Pixels that all threads decode at once are at most as many as a single picture may have.
_UNIT = 1_000_000
_ROOM = Room(MAX_PIXELS // _UNIT)

# Grey levels of the backgrounds, as Pillow has their names.
_LEVELS: dict[Background, int] = {"black": 0, "grey": 128, "white": 255}

# Pillow warns of sizes from 89 million pixels on; ours is the limit that counts. Decoding threads
# could not share a filter of warnings that is put up and taken down again.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How a picture of any size becomes the square that a net takes.

    Attributes:
        channels: 1 for grey, 3 for colour.
        size: side of the square, in pixels.
        policy: ``crop`` scales it until it covers the square and cuts it at the centre; ``pad``
            scales it until it fits in and fills the rest; ``squash`` scales both sides alone.
        background: what is filled in, and what lies behind transparent pixels.
    """

    channels: int
    size: int
    policy: FitPolicy = "crop"
    background: Background = "grey"


def decode_image(path: Path, fit: Fit) -> npt.NDArray[np.uint8]:
    """Read an image file, see ``decode_content``."""
    return decode_content(partial(read_file, path), fit, str(path))


def decode_content(read: Callable[[], bytes], fit: Fit, place: str) -> npt.NDArray[np.uint8]:
    """Read an image file as the pixels (C, size, size), uint8.

    The picture is turned as its EXIF or XMP says, laid on the background where it is transparent,
    turned to grey or RGB and scaled with antialiasing as ``fit`` says. Of an animation the first
    frame is taken.

    Args:
        read: gives a PNG, JPEG, WebP, BMP or GIF file.
        fit: what it becomes.
        place: where it is, as people are told.

    Raises:
        UserError: where the file is missing, no such image, damaged, or too large.
    """
    if fit.channels not in (1, 3):
        raise UserError(
            f"image files cannot be given to a net of {fit.channels} channels",
            remedy="call Run.predict with an array",
        )
    content = b""
    try:
        content = read()
        plain_HWC = _decode_plain_jpeg(content, fit)
        if plain_HWC is not None:
            return square(plain_HWC, fit)
        with Image.open(BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UserError(
                    f"{place} is too large",
                    expected=f"at most {MAX_PIXELS:,} pixels",
                    received=f"{image.width} x {image.height}",
                    remedy="scale it down",
                )
            with room_to_decode(image, needed=fit.size):
                pixels_HWC = decode_shown(
                    image,
                    content,
                    channels=fit.channels,
                    background=fit.background,
                    needed=fit.size,
                )
                return square(pixels_HWC, fit)
    except FileNotFoundError as error:
        raise UserError(f"there is no image {place}", remedy="check the path") from error
    except PermissionError as error:
        raise UserError(f"{place} may not be read", remedy="change its permissions") from error
    except IsADirectoryError as error:
        raise UserError(f"{place} is a folder, not an image file") from error
    except UnidentifiedImageError as error:
        raise UserError(
            f"{place} is not an image",
            expected="PNG, JPEG, WebP, BMP or GIF",
            received=_first_bytes(content),
            remedy="convert it",
        ) from error
    except Image.DecompressionBombError as error:
        raise UserError(
            f"{place} is too large",
            expected=f"at most {MAX_PIXELS:,} pixels",
            remedy="scale it down",
        ) from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"the image {place} cannot be decoded", received=str(error), remedy="save it anew"
        ) from error


def _decode_plain_jpeg(content: bytes, fit: Fit) -> npt.NDArray[np.uint8] | None:
    """Pixels (H, W, C) of a JPEG of which its header leaves nothing to be asked.

    What ``decode_shown`` gives as well, without Pillow's look at the file, which takes a tenth of
    the time. None for what is left to that: all that is no JPEG, may be turned, is progressive,
    in CMYK, large or damaged.
    """
    if not is_plain(content):
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(content)
    except ValueError:
        return None
    if colours in ("CMYK", "YCCK") or height * width >= _LARGE:
        return None
    factor = _spare_factor((width, height), fit.size)
    with _ROOM.take(height * width // factor**2 // _UNIT):
        return _decode_jpeg(content, fit.channels, width=width, height=height, factor=factor)


def decode_shown(
    image: Image.Image,
    content: bytes,
    *,
    channels: int,
    background: Background,
    needed: int | None = None,
) -> npt.NDArray[np.uint8]:
    """Pixels (H, W, C) of a picture as it is shown.

    Args:
        image: as it was opened, for what its header says.
        content: of the file.
        channels: 1 for grey, 3 for RGB.
        background: what transparent pixels are laid on.
        needed: rows and columns that are of use: a JPEG of many more is decoded smaller, and any
            other large picture made smaller before it is turned to grey or RGB as a whole.
    """
    orientation = orientation_of(image)
    factor = _spare_factor(image.size, needed)
    pixels_HWC = None
    if image.format in JPEGS:
        if image.mode != "CMYK":
            pixels_HWC = _decode_jpeg(
                content, channels, width=image.width, height=image.height, factor=factor
            )
        if pixels_HWC is None and factor > 1:
            image.draft(None, (image.width // factor, image.height // factor))
        factor = 1
    elif image.width * image.height < _LARGE:
        factor = 1
    if pixels_HWC is None:
        pixels_HWC = flat_pixels(image, channels, background, factor=factor)
    return turn(pixels_HWC, orientation)


def room_to_decode(
    image: Image.Image, *, needed: int | None = None
) -> AbstractContextManager[None]:
    """To be held while a picture is decoded, so that large ones wait for each other.

    Args:
        image: as it was opened.
        needed: as of ``decode_shown``.
    """
    pixels = image.width * image.height
    # Of a progressive JPEG all coefficients are held, however small it is decoded.
    if image.format in JPEGS and "progressive" not in image.info:
        pixels //= _spare_factor(image.size, needed) ** 2
    return _ROOM.take(pixels // _UNIT)


def _spare_factor(size: tuple[int, int], needed: int | None) -> int:
    """How many times smaller, 1 to 8, a picture may be decoded."""
    factor = 1
    while needed and factor < 8 and min(size) // (2 * factor) >= _SPARE * needed:
        factor *= 2
    return factor


def _decode_jpeg(
    content: bytes, channels: int, *, width: int, height: int, factor: int
) -> npt.NDArray[np.uint8] | None:
    """Pixels (H, W, C) of a JPEG that is not in CMYK, in two thirds of Pillow's time.

    None where it has damage, of which Pillow tells whether there is something to be used.
    """
    try:
        pixels_HWC: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(
            content,
            colorspace="GRAY" if channels == 1 else "RGB",
            min_width=-(-width // factor),
            min_height=-(-height // factor),
        )
    except ValueError:
        return None
    return pixels_HWC


def square(pixels_HWC: npt.NDArray[np.uint8], fit: Fit) -> npt.NDArray[np.uint8]:
    """Pixels (C, size, size), C-contiguous, of any (H, W, C)."""
    height, width = pixels_HWC.shape[:2]
    if fit.policy == "crop":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        pixels_HWC = pixels_HWC[top : top + side, left : left + side]
    if fit.policy != "pad":
        return scale_picture(pixels_HWC, fit.size, fit.size)
    scale = fit.size / max(height, width)
    scaled_CHW = scale_picture(
        pixels_HWC, max(1, round(scale * height)), max(1, round(scale * width))
    )
    rows, columns = scaled_CHW.shape[1:]
    filled_CHW = np.full((fit.channels, fit.size, fit.size), background_level(fit), np.uint8)
    top, left = (fit.size - rows) // 2, (fit.size - columns) // 2
    filled_CHW[:, top : top + rows, left : left + columns] = scaled_CHW
    return filled_CHW


def background_level(fit: Fit) -> int:
    """Grey level of what is filled in."""
    return _LEVELS[fit.background]


def _first_bytes(content: bytes) -> str:
    if not content:
        return "an empty file"
    head = content[:12]
    is_text = head.isascii() and head.decode("ascii").isprintable()
    told = head.decode("ascii") if is_text else f"the bytes {head.hex(' ')}"
    return f"a file that begins with {told}"
