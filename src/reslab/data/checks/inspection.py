"""One picture file looked at closely: what it is, what is odd about it, and what it shows."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import PurePosixPath

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from reslab.catalog.datasets import Background
from reslab.data.checks.damage import is_damaged
from reslab.data.pictures.preprocess import FORMATS, SUFFIXES, decode_shown, room_to_decode
from reslab.data.pictures.reading import MAX_PIXELS
from reslab.data.pictures.shown import is_grey, opacity_of, orientation_of
from reslab.data.pictures.stores import Store
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


def inspect_picture(store: Store, name: str, background: Background = "grey") -> Inspected:
    """Decode a picture file and tell what there is to say of it.

    Args:
        store: has the picture.
        name: of the picture.
        background: what transparent pixels will be laid on.
    """
    content = b""
    try:
        content = store.read(name)
        if not content:
            return Inspected(kinds=("empty",), told="an empty file")
        return _inspect(content, PurePosixPath(name).suffix.lower(), background)
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
    with Image.open(BytesIO(content), formats=FORMATS) as image, room_to_decode(image):
        return _inspect_pixels(image, content, suffix, background)


def _inspect_pixels(
    image: Image.Image, content: bytes, suffix: str, background: Background
) -> Inspected:
    kinds = _of_storage(image, suffix)
    if is_damaged(content, image.format):
        kinds.append("damaged")
    # In one piece even where it is turned.
    shown_HWC = np.ascontiguousarray(
        decode_shown(image, content, channels=3, background=background)
    )
    opacity = opacity_of(image)
    small_SS = _shrink(shown_HWC)
    contrast = _contrast(shown_HWC, small_SS)
    if opacity[0] < 255:
        kinds.append("transparent")
        if contrast < _VISIBLE:
            kinds.append("vanishing")
    if contrast == 0 and opacity[0] == opacity[1]:
        kinds.append("blank")
    height, width = shown_HWC.shape[:2]
    if max(width, height) > _ELONGATED * min(width, height):
        kinds.append("elongated")
    digest = hashlib.blake2b(repr(shown_HWC.shape).encode(), digest_size=16)
    digest.update(shown_HWC.data)
    return Inspected(
        kinds=tuple(kinds),
        size=(width, height),
        is_grey=is_grey(image),
        digest=digest.digest(),
        small=small_SS,
    )


def _shrink(shown_HWC: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Grey levels (SIDE, SIDE), each the mean of a part of the picture."""
    small_SSC = cv2.resize(shown_HWC, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small_SSC, cv2.COLOR_RGB2GRAY), np.uint8)


def _contrast(shown_HWC: npt.NDArray[np.uint8], small_SS: npt.NDArray[np.uint8]) -> int:
    """How far the levels of a channel reach, or a part of it that is more than just visible."""
    least = int(np.ptp(small_SS))
    return least if least > _VISIBLE else max(int(np.ptp(plane)) for plane in shown_HWC.T)


def _of_storage(image: Image.Image, suffix: str) -> list[str]:
    """How it is stored."""
    kinds = []
    if suffix in SUFFIXES and suffix not in SUFFIXES_OF[str(image.format)]:
        kinds.append("wrong_suffix")
    if getattr(image, "is_animated", False) and image.format != "MPO":
        kinds.append("animated")
    if orientation_of(image) != 1:
        kinds.append("rotated")
    if image.mode == "P":
        kinds.append("palette")
    if image.mode == "CMYK":
        kinds.append("cmyk")
    if image.mode.startswith("I"):
        kinds.append("sixteen_bit")
    return kinds
