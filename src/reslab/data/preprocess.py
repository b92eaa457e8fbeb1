"""From an image file to the pixels that a net was trained on: the one decoder."""

from __future__ import annotations

import errno
import os
import stat
import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import ExifTags, Image, UnidentifiedImageError

from reslab.catalog.datasets import Background, FitPolicy
from reslab.errors import UserError
from reslab.ops.resample import scale_picture

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")
MAX_PIXELS = 100_000_000
# Of a file: as many pixels, stored as they are.
MAX_BYTES = 4 * MAX_PIXELS

# A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where that leaves so many pixels for each one
# of the result, in rows and in columns, so that scaling still has enough to average over.
_SPARE = 2

# Grey levels of the backgrounds, as Pillow has their names.
_LEVELS: dict[Background, int] = {"black": 0, "grey": 128, "white": 255}

# Of segments of a JPEG: ITU-T T.81, table B.1.
_MARKER, _APP1, _START_OF_SCAN = 0xFF, 0xE1, 0xDA

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
    """Read an image file as the pixels (C, size, size), uint8.

    The picture is turned as its EXIF tag says, laid on the background where it is transparent,
    turned to grey or RGB and scaled with antialiasing as ``fit`` says. Of an animation the first
    frame is taken.

    Args:
        path: a PNG, JPEG, WebP, BMP or GIF file.
        fit: what it becomes.

    Raises:
        UserError: where the file is missing, no such image, damaged, or too large.
    """
    if fit.channels not in (1, 3):
        raise UserError(
            f"image files cannot be given to a net of {fit.channels} channels",
            remedy="call Run.predict with an array",
        )
    try:
        content = read_file(path)
        pixels_HWC = _decode_plain_jpeg(content, fit)
        if pixels_HWC is not None:
            return square(pixels_HWC, fit)
        with Image.open(BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UserError(
                    f"{path} is too large",
                    expected=f"at most {MAX_PIXELS:,} pixels",
                    received=f"{image.width} x {image.height}",
                    remedy="scale it down",
                )
            return square(_decode(image, fit), fit)
    except FileNotFoundError as error:
        raise UserError(f"there is no image {path}", remedy="check the path") from error
    except PermissionError as error:
        raise UserError(f"{path} may not be read", remedy="change its permissions") from error
    except IsADirectoryError as error:
        raise UserError(f"{path} is a folder, not an image file") from error
    except UnidentifiedImageError as error:
        raise UserError(
            f"{path} is not an image",
            expected="PNG, JPEG, WebP, BMP or GIF",
            received=_first_bytes(path),
            remedy="convert it",
        ) from error
    except Image.DecompressionBombError as error:
        raise UserError(
            f"{path} is too large",
            expected=f"at most {MAX_PIXELS:,} pixels",
            remedy="scale it down",
        ) from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"the image {path} cannot be decoded", received=str(error), remedy="save it anew"
        ) from error


def read_file(path: Path) -> bytes:
    """The content of a file that is one: a pipe or device could go on for ever.

    Raises:
        UserError: where it is none, or larger than a picture may be.
        OSError: where it cannot be read.
    """
    # Asked before it is opened, since to open a pipe waits for who writes to it.
    found = path.stat()
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(found.st_mode):
        raise UserError(f"{path} is no file but a pipe or device", remedy="delete it")
    if found.st_size > MAX_BYTES:
        raise UserError(
            f"{path} is too large",
            expected=f"at most {MAX_BYTES:,} bytes",
            received=f"{found.st_size:,}",
            remedy="scale it down",
        )
    return path.read_bytes()


def _decode(image: Image.Image, fit: Fit) -> npt.NDArray[np.uint8]:
    """Pixels (H, W, C) of a picture as it is shown."""
    image = upright(image)
    if image.mode.startswith("I;16"):
        # Pillow would clip 16 bits to 8 instead of scaling them.
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, fit.background), image)
    image = image.convert("L" if fit.channels == 1 else "RGB")
    # Copied, since torch wants what it may write to.
    return np.array(image, dtype=np.uint8).reshape(image.height, image.width, fit.channels)


def _decode_plain_jpeg(content: bytes, fit: Fit) -> npt.NDArray[np.uint8] | None:
    """Pixels (H, W, C) of a JPEG, in two thirds of Pillow's time; None for what is left to Pillow.

    That is what is no JPEG, is turned by EXIF, is in CMYK, is too large, or has damage, of which
    Pillow tells whether there is something to be used.
    """
    if not content.startswith(b"\xff\xd8") or _has_exif(content):
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(content)
        if colours in ("CMYK", "YCCK") or height * width > MAX_PIXELS:
            return None
        factor = 1
        while factor < 8 and min(height, width) // (2 * factor) >= _SPARE * fit.size:
            factor *= 2
        pixels_HWC: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(
            content,
            colorspace="GRAY" if fit.channels == 1 else "RGB",
            min_width=-(-width // factor),
            min_height=-(-height // factor),
        )
    except ValueError:
        return None
    return pixels_HWC


def _has_exif(content: bytes) -> bool:
    """Whether a JPEG has EXIF before its pixels; True where that is unclear."""
    place = 2
    while place + 4 <= len(content) and content[place] == _MARKER:
        kind, size = content[place + 1], int.from_bytes(content[place + 2 : place + 4])
        if kind == _START_OF_SCAN:
            return False
        if kind == _APP1 and content[place + 4 : place + 8] == b"Exif":
            return True
        place += 2 + size
    return True


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


def orientation_of(image: Image.Image) -> int | None:
    """What the EXIF tag says of how it lies, 1 to 8; None where it says nothing."""
    try:
        found: int | None = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # noqa: BLE001 - whatever is in there, the pixels are good
        return None
    return found


def upright(image: Image.Image) -> Image.Image:
    """The picture turned as its EXIF orientation says; EXIF that cannot be read says nothing.

    Pillow's own ``exif_transpose`` also rewrites all other tags, and fails on odd ones.
    """
    orientation = orientation_of(image)
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    return image.transpose(turns[orientation]) if orientation in turns else image


def _first_bytes(path: Path) -> str:
    try:
        with path.open("rb") as file:
            start = file.read(12)
    except OSError as error:
        return str(error.strerror)
    return f"a file that begins with {start!r}" if start else "an empty file"
