"""Whole files are left in peace, however they were saved; damaged ones are told."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from reslab.data.checks.damage import is_damaged
from tests.data.checks.messy import part, photographs

PHOTOGRAPH = part(photographs()["church"], 1, side=200)

WAYS: dict[str, tuple[str, dict[str, object]]] = {
    "JPEG": ("JPEG", {"quality": 90}),
    "JPEG with restarts": ("JPEG", {"quality": 75, "restart_marker_rows": 1}),
    "optimised JPEG": ("JPEG", {"quality": 40, "optimize": True, "subsampling": 0}),
    "progressive JPEG": ("JPEG", {"quality": 85, "progressive": True}),
    "WebP": ("WEBP", {"quality": 80}),
    "lossless WebP": ("WEBP", {"lossless": True}),
    "GIF": ("GIF", {}),
    "animated GIF": ("GIF", {"save_all": True}),
    "animated WebP": ("WEBP", {"save_all": True}),
    "MPO": ("MPO", {"save_all": True}),
    "PNG": ("PNG", {}),
    "BMP": ("BMP", {}),
}


def saved(image: Image.Image, way: str) -> tuple[bytes, str]:
    """As a file, with its format."""
    image_format, options = WAYS[way]
    if "save_all" in options:
        options = {**options, "append_images": [image.rotate(180)]}
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue(), image_format


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [(1, 1), (7, 3), (64, 64), (199, 131)])
def test_whole_files_are_left_in_peace(way: str, size: tuple[int, int]) -> None:
    flat = Image.new("RGB", size, "teal")
    half = flat.copy()
    half.paste("white", (0, 0, size[0], size[1] // 2))
    for image in (PHOTOGRAPH.resize(size), flat, half):
        assert not is_damaged(*saved(image, way))


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_jpegs_of_other_colours_too(mode: str) -> None:
    content, image_format = saved(PHOTOGRAPH.convert(mode), "JPEG")
    assert not is_damaged(content, image_format)
    assert is_damaged(content[:4000] + bytes(200) + content[4200:], image_format)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_webps_with_opacity_too(mode: str) -> None:
    image = PHOTOGRAPH.copy()
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    assert not is_damaged(*saved(image.convert(mode), "WebP"))


STILL = [way for way in WAYS if way[0] not in "aMPB"]


def half_overwritten(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + np.random.default_rng(0).bytes(len(content) - middle)


def half_zero(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes(len(content) - middle)


DAMAGE = {"half overwritten": half_overwritten, "half zero": half_zero}


def is_told(content: bytes, image_format: str) -> bool:
    """By the decoder, or else by us."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
    except (OSError, SyntaxError):
        return True
    return is_damaged(content, image_format)


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("way", STILL)
def test_half_a_picture_is_told(way: str, damage: str) -> None:
    content, image_format = saved(PHOTOGRAPH, way)
    assert is_told(DAMAGE[damage](content), image_format)


@pytest.mark.parametrize("way", ["JPEG", "progressive JPEG", "WebP", "lossless WebP"])
def test_bytes_too_many_among_the_codes_are_told(way: str) -> None:
    content, image_format = saved(PHOTOGRAPH, way)
    # Further codes of its own before its last ones.
    more = bytearray(content[:-400] + content[-700:])
    if image_format == "WEBP":
        more[4:8] = (len(more) - 8).to_bytes(4, "little")
        more[16:20] = (int.from_bytes(content[16:20], "little") + 300).to_bytes(4, "little")
        with Image.open(io.BytesIO(more)) as image:
            image.load()
    assert is_damaged(bytes(more), image_format)


def test_a_gif_with_codes_for_more_rows_is_told() -> None:
    content, image_format = saved(PHOTOGRAPH, "GIF")
    place = content.index(b",\0\0\0\0\xc8\0\xc8\0")
    shorter = content[: place + 7] + b"\xc0\0" + content[place + 9 :]
    with Image.open(io.BytesIO(shorter)) as image:
        image.load()
    assert is_damaged(shorter, image_format)


def test_a_progressive_jpeg_without_its_last_scans_is_told() -> None:
    content, image_format = saved(PHOTOGRAPH, "progressive JPEG")
    scans = [place for place in range(len(content)) if content.startswith(b"\xff\xda", place)]
    for scan in scans[2:]:
        # A scan begins with its table, if it has one.
        table = content.rfind(b"\xff\xc4", scans[1], scan)
        fewer = content[: table if table > 0 else scan] + b"\xff\xd9"
        with Image.open(io.BytesIO(fewer)) as image:
            image.load()
        assert is_damaged(fewer, image_format)


def test_bytes_that_are_left_are_excused_where_they_are_zeros() -> None:
    content, image_format = saved(PHOTOGRAPH, "JPEG")
    assert not is_damaged(content[:-2] + bytes(30) + content[-2:], image_format)
    assert is_damaged(content[:-2] + bytes(range(1, 31)) + content[-2:], image_format)


def test_what_follows_the_end_is_no_damage() -> None:
    for way in ("JPEG", "progressive JPEG", "GIF"):
        content, image_format = saved(PHOTOGRAPH, way)
        assert not is_damaged(content + bytes(range(200)), image_format)
