"""The rules of the data one by one; what all come to together is in test_resolve."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from reslab.catalog.datasets import DATASETS, DataCard
from reslab.errors import UserError
from reslab.spec.data import AugmentSpec, DataSpec
from reslab.workbench.decide_data import (
    decide_data,
    doubt_augmentation,
    doubt_classes,
    doubt_tested,
    tell_flips,
)

CARDS = {card.name: card for card in DATASETS}
OWN = replace(CARDS["cifar10"], name="folder:pets", kind="folder")


@pytest.mark.parametrize(
    ("name", "images", "validation"),
    [("cifar10", 50_000, 5000), ("cifar10", 49_999, 5000), ("digits", 1437, 144)],
)
def test_validation_is_a_tenth_or_the_papers_5000(name: str, images: int, validation: int) -> None:
    decided = decide_data(DataSpec(), CARDS[name], images)
    assert decided["validation"] == validation
    assert decided["name"] == name


def test_augmentation_in_pixels_follows_the_image() -> None:
    assert decide_data(DataSpec(), CARDS["cifar10"], 100)["augment"] == {
        "pad": 2,
        "fill": "black",
        "crop": 32,
        "flip": True,
        "resized": 1.0,
    }
    asked = DataSpec(augment=AugmentSpec(pad=4, crop=30, flip=False))
    assert decide_data(asked, CARDS["cifar10"], 100)["augment"] == {
        "pad": 4,
        "fill": "black",
        "crop": 30,
        "flip": False,
        "resized": 1.0,
    }


@pytest.mark.parametrize(
    ("card", "asked", "fill"),
    [
        (CARDS["cifar10"], {"background": "white"}, "black"),
        (OWN, {}, "grey"),
        (OWN, {"background": "white"}, "white"),
        (OWN, {"augment": AugmentSpec(fill="black")}, "black"),
    ],
)
def test_pictures_of_one_s_own_are_padded_with_their_background(
    card: DataCard, asked: dict[str, Any], fill: str
) -> None:
    assert decide_data(DataSpec(**asked), card, 100)["augment"]["fill"] == fill


@pytest.mark.parametrize(
    ("augment", "text"),
    [
        (AugmentSpec(pad=1, crop=35), r"crop is larger than the padded image: expected at most 32"),
        (AugmentSpec(cutout=33), r"cutout hides whole images: expected at most 32"),
    ],
)
def test_augmentation_that_cannot_be_is_refused(augment: AugmentSpec, text: str) -> None:
    with pytest.raises(UserError, match=text):
        decide_data(DataSpec(augment=augment), CARDS["cifar10"], 100)


def test_augmentation_that_changes_what_images_mean_is_doubted() -> None:
    both = {"flip": True, "trivial": True}
    assert doubt_augmentation(both, CARDS["cifar10"]) == []
    told = doubt_augmentation(both, CARDS["digits"])
    assert [text.split()[0] for text in told] == ["data.augment.flip", "data.augment.trivial"]
    assert all("which changes what those of digits mean" in text for text in told)
    assert doubt_augmentation({"flip": False, "trivial": False}, CARDS["digits"]) == []


def test_flips_that_nobody_asked_for_are_told_of_pictures_of_one_s_own() -> None:
    (told,) = tell_flips("auto", OWN)
    assert "are mirrored" in told and told.endswith("set data.augment.flip=false")
    for flip in (True, False):
        assert tell_flips(flip, OWN) == []
    assert tell_flips("auto", CARDS["cifar10"]) == []


def test_classes_that_nothing_tests_are_told() -> None:
    assert doubt_tested(["cat"])[0].startswith("1 class has no test images, so that")
    assert doubt_tested(list("abcd"))[0].endswith("known: a, b, c and 1 more")
    assert doubt_tested([]) == []


def test_classes_that_nothing_teaches_are_told() -> None:
    labels_N = np.array([0, 0, 2])
    assert doubt_classes(labels_N, ("cat", "bird", "dog"))[0].startswith(
        "1 class has no training images, and will never be predicted: bird;"
    )
    (told,) = doubt_classes(labels_N, tuple("abcdefg"))
    assert told.startswith("5 classes have no training images") and "b, d, e and 2 more" in told
    assert doubt_classes(labels_N[:2], ("cat",)) == []
