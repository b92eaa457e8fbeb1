"""What the markers of a JPEG say, without any decoding: ITU-T T.81, table B.1."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

# What Pillow calls a JPEG, and one with further pictures in it.
JPEGS = ("JPEG", "MPO")

START_OF_SCAN, END = 0xDA, 0xD9
_START, _MARKER, _APP1, _PROGRESSIVE = b"\xff\xd8", 0xFF, 0xE1, 0xC2

# Frames of Huffman codes of cosines, sequential or progressive: next to all there are.
USUAL_FRAMES = (0xC0, 0xC1, _PROGRESSIVE)

# Of a segment: two bytes of its marker, and how many follow, the two that tell it among them.
_HEAD = struct.Struct(">BBH")

# Within the codes of a scan, 0xFF is followed by 0 or by the number of a restart.
_SCAN_END = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


class Segment(NamedTuple):
    """A part of a JPEG: its marker, where that is, and what it holds."""

    marker: int
    place: int
    content: bytes


def segments(content: bytes) -> Iterator[Segment]:
    """The segments of a JPEG up to its end, the codes of scans left out."""
    place = len(_START)
    while (place := content.find(_MARKER, place)) >= 0 and place + 1 < len(content):
        marker = content[place + 1]
        if marker in (0x00, _MARKER):
            place += 1
            continue
        size = int.from_bytes(content[place + 2 : place + 4]) if marker != END else 0
        yield Segment(marker, place, content[place + 4 : place + 2 + size])
        if marker == END:
            return
        place += 2 + size
        if marker == START_OF_SCAN:
            found = _SCAN_END.search(content, place)
            place = found.start() if found else len(content)


def is_plain(content: bytes) -> bool:
    """Whether a file is a JPEG with no EXIF or XMP before its pixels, and is not progressive.

    Asked of each picture that is decoded: ``segments`` takes several times as long.
    """
    if not content.startswith(_START):
        return False
    place = len(_START)
    while place + _HEAD.size <= len(content):
        first, marker, size = _HEAD.unpack_from(content, place)
        if first != _MARKER or marker in (_APP1, _PROGRESSIVE):
            return False
        if marker == START_OF_SCAN:
            return True
        place += 2 + size
    return False
