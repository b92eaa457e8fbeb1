"""Equal and nearly equal pictures."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from reslab.data.duplicates import equal_pictures, near_pairs
from reslab.data.inspection import SIDE
from tests.data.messy import part, photographs


def small(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX))


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    return [part(image, seed) for image in photographs().values() for seed in range(60)]


def saved_again(image: Image.Image) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=40)
    return Image.open(stream)


COPIES = {
    "saved again": saved_again,
    "half as large": lambda image: image.resize((80, 80)),
    "cut by 2 %": lambda image: image.crop((2, 1, 157, 158)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "grey": lambda image: image.convert("L"),
}


def test_equal_digests() -> None:
    assert equal_pictures([b"a", b"", b"b", b"a", b"", b"a"]) == [[0, 3, 5]]


def test_different_pictures_are_not_nearly_equal(pictures) -> None:
    assert near_pairs(np.stack([small(image) for image in pictures])) == []


@pytest.mark.parametrize("kind", COPIES)
def test_copies_are_nearly_equal(pictures, kind) -> None:
    whole = [small(image) for image in pictures]
    copies = [small(COPIES[kind](image)) for image in pictures]
    found = near_pairs(np.stack([*whole, *copies]))
    expected = {(row, row + len(whole)) for row in range(len(whole))}
    assert set(found) <= expected
    # Squares of bare sky have too little contrast to be told apart.
    assert len(found) >= 0.9 * len(expected)


def test_pictures_without_contrast_are_passed_over() -> None:
    rng = np.random.default_rng(0)
    assert near_pairs((100 + rng.integers(0, 3, (50, SIDE, SIDE))).astype(np.uint8)) == []


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_to_compare(count) -> None:
    assert near_pairs(np.zeros((count, SIDE, SIDE), np.uint8)) == []
