"""One picture file looked at closely: what it is, what is odd about it, and what it shows."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image, UnidentifiedImageError

from reslab.catalog.datasets import Background
from reslab.data.preprocess import FORMATS, MAX_PIXELS, SUFFIXES, orientation_of, read_file, upright
from reslab.errors import UserError

# Names that go with each format.
SUFFIXES_OF = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg"),
    # A JPEG with further pictures in it, such as a preview: many cameras and phones write them.
    "MPO": (".jpg", ".jpeg"),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "GIF": (".gif",),
}

# Side of the small grey picture by which nearly equal ones are found.
SIDE = 16

_ELONGATED = 3.0

# Levels of a channel that differ by less are not told apart.
_VISIBLE = 8


@dataclass(frozen=True, kw_only=True)
class Inspected:
    """What was found of a picture.

    Attributes:
        kinds: names of the findings that it belongs to.
        told: why it cannot be decoded; empty where it can.
        size: columns and rows as it is shown; (0, 0) where it cannot be decoded.
        is_grey: whether it has no colours.
        digest: of its size and pixels as they are shown; empty where it cannot be decoded.
        small: (SIDE, SIDE) of its grey levels; empty where it cannot be decoded.
    """

    kinds: tuple[str, ...]
    told: str = ""
    size: tuple[int, int] = (0, 0)
    is_grey: bool = False
    digest: bytes = b""
    small: npt.NDArray[np.uint8] = field(default_factory=lambda: np.empty((0, 0), np.uint8))


def inspect_picture(path: Path, background: Background = "grey") -> Inspected:
    """Decode a picture file and tell what there is to say of it.

    Args:
        path: the file.
        background: what transparent pixels will be laid on.
    """
    content = b""
    try:
        content = read_file(path)
        if not content:
            return Inspected(kinds=("empty",), told="an empty file")
        return _inspect(content, path.suffix.lower(), background)
    except Exception as error:  # noqa: BLE001 - decoders fail in any way they like
        kind, told = _of_failure(error, content)
        return Inspected(kinds=(kind,), told=told)


def _of_failure(error: Exception, content: bytes) -> tuple[str, str]:
    """Kind of trouble, and why."""
    if isinstance(error, FileNotFoundError):
        return "missing", "there is no such file"
    if isinstance(error, OSError) and error.errno is not None:
        return "unreadable", str(error.strerror).lower()
    if isinstance(error, UserError):
        return "unreadable", str(error)
    if isinstance(error, UnidentifiedImageError):
        return "not_a_picture", f"it begins with {content[:12]!r}"
    if isinstance(error, Image.DecompressionBombError):
        return "too_large", f"more than {MAX_PIXELS:,} pixels"
    return "undecodable", " ".join(str(error).split()) or type(error).__name__


def _inspect(content: bytes, suffix: str, background: Background) -> Inspected:
    with Image.open(BytesIO(content), formats=FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            return Inspected(kinds=("too_large",), told=f"{image.width} x {image.height} pixels")
        # Checksums, which decoding alone passes over.
        image.verify()
    # Anew, since an image that was verified cannot be decoded any more.
    with Image.open(BytesIO(content), formats=FORMATS) as image:
        kinds = _of_storage(image, suffix)
        image.load()
        kinds += _of_damage(image, content)
        shown = upright(image)
        is_grey = image.mode in {"1", "L", "LA"} or image.mode.startswith("I")
        if shown.has_transparency_data:
            shown = shown.convert("RGBA")
            if _extrema(shown.getchannel("A"))[0][0] < 255:
                kinds.append("transparent")
                if _vanishes(shown, background):
                    kinds.append("vanishing")
        elif shown.mode.startswith("I"):
            shown = Image.fromarray((np.asarray(shown) >> 8).astype(np.uint8)).convert("RGB")
        else:
            shown = shown.convert("RGB")
    if max(_spreads(shown)) == 0:
        kinds.append("blank")
    longer, shorter = max(shown.size), min(shown.size)
    if longer > _ELONGATED * shorter:
        kinds.append("elongated")
    digest = hashlib.blake2b(repr((shown.mode, shown.size)).encode(), digest_size=16)
    digest.update(shown.tobytes())
    small = shown.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    return Inspected(
        kinds=tuple(kinds),
        size=shown.size,
        is_grey=is_grey,
        digest=digest.digest(),
        small=np.asarray(small),
    )


def _vanishes(image: Image.Image, background: Background) -> bool:
    """Whether next to nothing of a transparent picture can be seen on that background."""
    laid = Image.alpha_composite(Image.new("RGBA", image.size, background), image)
    return max(_spreads(laid.convert("RGB"))) < _VISIBLE


def _spreads(image: Image.Image) -> list[float]:
    """How far the levels of each channel reach."""
    return [high - low for low, high in _extrema(image)]


def _extrema(image: Image.Image) -> list[tuple[float, float]]:
    """Lowest and highest level of each channel; Pillow has it otherwise for a single one."""
    found = [channel.getextrema() for channel in image.split()]
    return cast(list[tuple[float, float]], found)


def _of_storage(image: Image.Image, suffix: str) -> list[str]:
    """How it is stored."""
    kinds = []
    if suffix in SUFFIXES and suffix not in SUFFIXES_OF[str(image.format)]:
        kinds.append("wrong_suffix")
    if getattr(image, "is_animated", False) and image.format != "MPO":
        kinds.append("animated")
    if orientation_of(image) not in (None, 1):
        kinds.append("rotated")
    if image.mode == "P":
        kinds.append("palette")
    if image.mode == "CMYK":
        kinds.append("cmyk")
    if image.mode.startswith("I"):
        kinds.append("sixteen_bit")
    return kinds


def _of_damage(image: Image.Image, content: bytes) -> list[str]:
    """Damage in a JPEG, which decoders pass over and fill up with grey."""
    if image.format not in ("JPEG", "MPO"):
        return []
    try:
        simplejpeg.decode_jpeg(content, colorspace="GRAY", strict=True)
    except ValueError as error:
        # What it cannot do at all is no damage: CMYK and the like.
        told = str(error)
        # A few bytes too many before the end are what some cameras write.
        if ("orrupt" in told or "remature" in told) and "extraneous bytes" not in told:
            return ["damaged"]
    return []
