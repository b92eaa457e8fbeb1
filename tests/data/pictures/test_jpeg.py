"""What the markers of JPEGs say."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from reslab.data.pictures.jpeg import END, START_OF_SCAN, USUAL_FRAMES, is_plain, segments

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)
XMP = b"<x:xmpmeta></x:xmpmeta>"


def encode(image_format: str = "JPEG", **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(PIXELS).save(stream, image_format, **options)
    return stream.getvalue()


def markers(content: bytes) -> list[int]:
    return [segment.marker for segment in segments(content)]


@pytest.mark.parametrize("restarts", [0, 1])
def test_the_codes_of_a_scan_are_passed_over(restarts: int) -> None:
    content = encode(quality=95, restart_marker_rows=restarts)
    # Bytes among the codes that look like a marker, each with a zero behind it.
    assert b"\xff\x00" in content
    assert (b"\xff\xd0" in content) == bool(restarts)
    found = markers(content)
    assert found.count(START_OF_SCAN) == 1
    assert found[-2:] == [START_OF_SCAN, END]
    assert len(set(found) & set(USUAL_FRAMES)) == 1


def test_all_scans_of_a_progressive_one_are_found() -> None:
    content = encode(progressive=True)
    found = markers(content)
    assert found.count(START_OF_SCAN) == content.count(b"\xff\xda") > 2
    assert found[-1] == END


def test_a_segment_is_where_its_marker_is_and_has_what_it_holds() -> None:
    content = encode(comment=b"so be it")
    (comment,) = [segment for segment in segments(content) if segment.marker == 0xFE]
    assert comment.content == b"so be it"
    assert content.startswith(b"\xff\xfe\x00\x0aso be it", comment.place)


def test_nothing_is_looked_for_behind_the_end() -> None:
    content = encode()
    assert markers(content + content) == markers(content)


def test_what_was_cut_off_has_no_end() -> None:
    content = encode()
    for length in range(len(content) - 1):
        assert END not in markers(content[:length])


def test_a_marker_may_have_more_than_one_byte_before_it() -> None:
    content = encode()
    assert markers(content[:-2] + b"\xff\xff" + content[-2:]) == markers(content)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (encode(), True),
        (encode(comment=b"a comment"), True),
        (encode(restart_marker_rows=1), True),
        (encode(progressive=True), False),
        (encode(exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"), False),
        (encode(xmp=XMP), False),
        (encode("PNG"), False),
        (encode()[:100], False),
        (encode()[:20] + b"0" + encode()[20:], False),
        (b"", False),
    ],
)
def test_what_leaves_nothing_to_be_asked(content: bytes, expected: bool) -> None:
    assert is_plain(content) == expected
