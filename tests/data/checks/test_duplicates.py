"""Equal and nearly equal pictures."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from reslab.data.checks import duplicates
from reslab.data.checks.duplicates import equal_pictures, near_others
from reslab.data.checks.inspection import SIDE
from tests.data.checks.messy import part, photographs


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


def near(small_NSS: np.ndarray) -> np.ndarray:
    """Which are near to any other."""
    return near_others(small_NSS, np.zeros(len(small_NSS), np.int64))[1]


def test_different_pictures_are_not_nearly_equal(pictures) -> None:
    assert not near(np.stack([small(image) for image in pictures])).any()


@pytest.mark.parametrize("kind", COPIES)
def test_copies_are_nearly_equal(pictures, kind) -> None:
    whole = [small(image) for image in pictures]
    copies = [small(COPIES[kind](image)) for image in pictures]
    found_N = near(np.stack([*whole, *copies]))
    # Squares of bare sky have too little contrast to be told apart.
    assert found_N[: len(whole)].mean() >= 0.9 and found_N[len(whole) :].mean() >= 0.9


def test_pictures_without_contrast_are_passed_over() -> None:
    rng = np.random.default_rng(0)
    assert not near((100 + rng.integers(0, 3, (50, SIDE, SIDE))).astype(np.uint8)).any()


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_to_compare(count) -> None:
    whole = np.arange(SIDE**2, dtype=np.uint8).reshape(1, SIDE, SIDE)
    assert not near(whole[:count]).any()


def test_parts_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    one, two, three, four = rng.integers(0, 256, (4, SIDE, SIDE)).astype(np.uint8)
    apart_N, together_N = near_others(
        np.stack([one, two, two, three, three, three, four]), np.array([0, 0, 0, 0, 1, 1, 1])
    )
    assert apart_N.tolist() == [False, False, False, True, True, True, False]
    assert together_N.tolist() == [False, True, True, False, True, True, False]


def test_none_is_lost_that_a_comparison_of_all_with_all_finds(monkeypatch) -> None:
    rng = np.random.default_rng(0)
    # Some directions have most of what differs, as in photographs, and many pairs lie about the
    # bound of what is alike.
    waves = rng.normal(size=(30, SIDE * SIDE)) / np.arange(1, 31)[:, None]
    centres = rng.normal(size=(150, 30)) @ waves
    noise = rng.normal(size=(600, SIDE * SIDE)) * rng.uniform(0, 0.6, (600, 1))
    levels_NX = np.repeat(centres, 4, axis=0) + noise
    small_NSS = (128 + 25 * levels_NX).clip(0, 255).astype(np.uint8).reshape(-1, SIDE, SIDE)
    parts_N = rng.integers(0, 2, 600)
    alike_NN = np.corrcoef(small_NSS.reshape(600, -1)) >= 0.95
    np.fill_diagonal(alike_NN, val=False)
    other_NN = parts_N[:, None] != parts_N
    assert 50 < alike_NN.any(axis=1).sum() < 550
    monkeypatch.setattr(duplicates, "_ROWS", 37)
    monkeypatch.setattr(duplicates, "_COLUMNS", 101)
    apart_N, together_N = near_others(small_NSS, parts_N)
    assert np.array_equal(apart_N, (alike_NN & other_NN).any(axis=1))
    assert np.array_equal(together_N, (alike_NN & ~other_NN).any(axis=1))


def test_tables_stay_small_where_all_are_nearly_equal(monkeypatch) -> None:
    monkeypatch.setattr(duplicates, "_ROWS", 8)
    monkeypatch.setattr(duplicates, "_COLUMNS", 64)
    whole = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE)).astype(np.uint8)
    tables = []
    find = duplicates._near_tables

    def noted(*given):
        for rows, columns in find(*given):
            tables.append(len(rows) * len(columns))
            yield rows, columns

    monkeypatch.setattr(duplicates, "_near_tables", noted)
    assert near(np.repeat(whole[None], 500, axis=0)).all()
    assert max(tables) <= 8 * 64 and sum(tables) >= 500 * 499 / 2
