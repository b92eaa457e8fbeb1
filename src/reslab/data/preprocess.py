"""From an image file to the pixels that a net was trained on: the one decoder."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from reslab.errors import UserError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")
MAX_PIXELS = 100_000_000


def decode_image(path: Path, *, channels: int, size: int) -> npt.NDArray[np.uint8]:
    """Read an image file as the pixels (C, size, size), uint8.

    The picture is turned as its EXIF tag says, laid on black where it is transparent, turned
    to grey or RGB, scaled with antialiasing until it covers the square, and cut at the centre.
    Of an animation the first frame is taken.

    Args:
        path: a PNG, JPEG, WebP, BMP or GIF file.
        channels: 1 for grey, 3 for colour.
        size: side of the square, in pixels.

    Raises:
        UserError: where the file is missing, no such image, damaged, or too large.
    """
    if channels not in (1, 3):
        raise UserError(
            f"image files cannot be given to a net of {channels} channels",
            remedy="call Run.predict with an array",
        )
    try:
        with warnings.catch_warnings():
            # Pillow only warns between its limit and twice that; ours below is the one that counts.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise UserError(
                        f"{path} is too large",
                        expected=f"at most {MAX_PIXELS:,} pixels",
                        received=f"{image.width} x {image.height}",
                        remedy="scale it down",
                    )
                return _pixels(image, channels, size)
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


def _pixels(image: Image.Image, channels: int, size: int) -> npt.NDArray[np.uint8]:
    image = _upright(image)
    if image.mode.startswith("I;16"):
        # Pillow would clip 16 bits to 8 instead of scaling them.
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image)
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (size, size):
        image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
    pixels_HWC = np.asarray(image, dtype=np.uint8).reshape(size, size, channels)
    return np.ascontiguousarray(pixels_HWC.transpose(2, 0, 1))


def _upright(image: Image.Image) -> Image.Image:
    """The picture turned as its EXIF orientation says; EXIF that cannot be read says nothing.

    Pillow's own ``exif_transpose`` also rewrites all other tags, and fails on odd ones.
    """
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # noqa: BLE001 - whatever is in there, the pixels are good
        return image
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
