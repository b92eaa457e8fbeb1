"""Damage that decoders pass over, told by what whole files of each format have in common.

PNGs have checksums. The others have none, but no encoder writes what is not needed: where the codes
of a picture were changed, decoding ends too early or too late, and is left with bytes or without.
What stays within one picture's codes by chance cannot be told, nor can changed pixels of a BMP.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from io import BytesIO

import simplejpeg
from PIL import Image

from reslab.data.pictures.jpeg import (
    END,
    JPEGS,
    START_OF_SCAN,
    USUAL_FRAMES,
    Segment,
    segments,
)
from reslab.data.pictures.preprocess import FORMATS

# Bytes at the end of a WebP's codes that its decoders may do without: they read ahead, and encoders
# fill up. libwebp's pictures need all but 3 (lossy) and 1 (lossless).
_WEBP_SPARE = {b"VP8 ": 8, b"VP8L": 4}

# Of a GIF.
_MOST_ROWS = 0xFFFF


def is_damaged(content: bytes, image_format: str | None) -> bool:
    """Whether a file that can be decoded has damage all the same.

    Args:
        content: of the file.
        image_format: Pillow's name of it.
    """
    if image_format in JPEGS:
        return _is_damaged_jpeg(content)
    if image_format == "WEBP":
        return _is_damaged_webp(content)
    if image_format == "GIF":
        return _is_damaged_gif(content)
    return False


def _is_damaged_jpeg(content: bytes) -> bool:
    """Whether codes are wrong, missing or left, or scans are missing."""
    told = _told_of_jpeg(content)
    parts = list(segments(content))
    end = next((part.place for part in parts if part.marker == END), None)
    left = re.search(r"(\d+) extraneous bytes before marker 0xd9", told)
    if left and end is not None:
        # Some cameras fill up the end with zeros.
        return any(content[end - int(left[1]) : end])
    # What it cannot do at all is no damage: CMYK with an odd transformation and the like.
    if "orrupt" in told or "remature" in told:
        return True
    is_usual = any(part.marker in USUAL_FRAMES for part in parts)
    if end is None or told or not is_usual:
        return False
    return not _has_all_scans(parts) or not _needs_its_end(content, end)


def _needs_its_end(content: bytes, end: int) -> bool:
    """Whether a JPEG whose codes end there is told to be short without their last byte."""
    last = 2 if content[end - 2 : end] == b"\xff\x00" else 1
    # Bytes that were filled up, too few to be told of, say nothing.
    if last == 1 and content[end - 1] in (0x00, 0xFF):
        return True
    return bool(_told_of_jpeg(content[: end - last] + content[end:]))


def _told_of_jpeg(content: bytes) -> str:
    """What the strict decoder complains of; empty: nothing."""
    try:
        colours = simplejpeg.decode_jpeg_header(content)[2]
        wanted = "CMYK" if colours in ("CMYK", "YCCK") else "GRAY"
        simplejpeg.decode_jpeg(content, colorspace=wanted, strict=True)
    except ValueError as error:
        return str(error)
    return ""


def _has_all_scans(parts: Sequence[Segment]) -> bool:
    """Whether every bit of every coefficient of every component is in some scan."""
    missing: set[tuple[int, int]] = set()
    for marker, _, content in parts:
        if marker in USUAL_FRAMES:
            components = content[6 : 6 + 3 * content[5] : 3]
            missing = {(component, k) for component in components for k in range(64)}
        if marker == START_OF_SCAN:
            count = content[0]
            first, last, bits = content[1 + 2 * count : 4 + 2 * count]
            # The lower four bits tell how many bits of the coefficients are left for later scans.
            if bits & 0x0F == 0:
                seen = content[1 : 1 + 2 * count : 2]
                missing -= {(component, k) for component in seen for k in range(first, last + 1)}
    return not missing


def _is_damaged_webp(content: bytes) -> bool:
    """Whether a still picture can do without its last codes."""
    place, size = 12, 0
    while place + 8 <= len(content):
        kind = content[place : place + 4]
        size = int.from_bytes(content[place + 4 : place + 8], "little")
        if kind in _WEBP_SPARE:
            break
        place += 8 + size + size % 2
    else:
        return False
    size -= _WEBP_SPARE[kind]
    if size <= 0:
        return False
    shorter = bytearray(content[: place + 8 + size + size % 2])
    shorter[place + 4 : place + 8] = size.to_bytes(4, "little")
    shorter[4:8] = (len(shorter) - 8).to_bytes(4, "little")
    return _can_be_decoded(bytes(shorter))


def _is_damaged_gif(content: bytes) -> bool:
    """Whether the first frame has codes for another row; some encoders write a part of one."""
    place = 13 + _palette_size(content[10])
    # Extensions before it: a kind and blocks, the last of them empty.
    while content[place : place + 1] == b"!":
        place += 2
        while content[place]:
            place += 1 + content[place]
        place += 1
    if content[place : place + 1] != b",":
        return False
    rows = int.from_bytes(content[place + 7 : place + 9], "little") + 1
    taller = content[: place + 7] + rows.to_bytes(4, "little")[:2] + content[place + 9 :]
    return rows <= _MOST_ROWS and _can_be_decoded(taller)


def _palette_size(flags: int) -> int:
    """Bytes of a GIF's global palette."""
    return 3 * 2 ** (1 + flags % 8) if flags & 0x80 else 0


def _can_be_decoded(content: bytes) -> bool:
    """Whether Pillow reads it to its end."""
    try:
        with Image.open(BytesIO(content), formats=FORMATS) as image:
            image.load()
    except Exception:  # noqa: BLE001 - decoders fail in any way they like
        return False
    return True
