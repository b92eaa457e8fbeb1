"""Settings of data: which names there are, and what may be typed."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from reslab.catalog.datasets import DATASETS
from reslab.spec.data import AugmentSpec, DataSpec


@pytest.mark.parametrize("name", [*(card.name for card in DATASETS), "folder:my-pets", "hf:pets"])
def test_named_data_sets_and_folders(name: str) -> None:
    assert DataSpec(name=name).name == name


@pytest.mark.parametrize("name", ["minst", "pets", "folder", ""])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match=f"unknown data set '{name}'"):
        DataSpec(name=name)


@pytest.mark.parametrize(
    ("text", "amount"), [("500MB", 500 * 2**20), ("0", 0), (2**40, 2**40), ("1.5g", 3 * 2**29)]
)
def test_sizes_are_typed_as_people_write_them(text: object, amount: int) -> None:
    assert DataSpec(cache_size=text).cache_size == amount


@pytest.mark.parametrize(
    ("setting", "value"),
    [("cache_size", "much"), ("cache_size", -1), ("fit", "stretch"), ("background", "red"),
     ("image_size", 0), ("test", 1.0), ("test", -0.1)],
)  # fmt: skip
def test_what_cannot_be(setting: str, value: object) -> None:
    with pytest.raises(ValidationError, match=setting):
        DataSpec(**{setting: value})


@pytest.mark.parametrize(
    ("setting", "value"), [("resized", 0.0), ("resized", 1.1), ("colour", 1.0)]
)
def test_augmentation_that_cannot_be(setting: str, value: float) -> None:
    with pytest.raises(ValidationError, match=setting):
        AugmentSpec(**{setting: value})
