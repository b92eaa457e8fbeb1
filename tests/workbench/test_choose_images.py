"""What is decided of images before they are decoded; rules are in test_decide_data."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import reslab
from reslab.catalog.data_names import name_and_root
from reslab.workbench.choose_images import augment_of, batches_of, choose_images
from reslab.workbench.resolve import normaliser_of, resolve, train_batches
from tests.workbench.test_sources import shade


@pytest.mark.parametrize(("background", "level"), [("grey", 128), ("white", 255), ("black", 0)])
def test_the_rim_of_pictures_of_one_s_own_is_their_background(
    tmp_path: Path, background: str, level: int
) -> None:
    name, place = name_and_root(str(shade(tmp_path / "shades", 12)))
    data = {"name": name, "root": place, "background": background, "image_size": 16}
    prepared = resolve(reslab.recipe(data={**data, "augment": {"pad": 9, "flip": False}}))
    assert prepared.run.data.augment.fill == background
    pixels_NCHW, _ = train_batches(prepared).pixels(0, 0)
    # No picture is as dark or bright as black and white, nor grey in all rows of a column.
    rims_NCW = (pixels_NCHW == level).all(axis=2)
    assert rims_NCW.any()


def test_what_is_decided_without_decoding_is_what_training_decides() -> None:
    spec = reslab.recipe()
    prepared = resolve(spec)
    source = prepared.source
    data, split = choose_images(spec.data, source, source.load_train())
    augment = augment_of(spec.data, data)
    assert augment == prepared.run.data.augment
    assert (split.train == prepared.numbers).all()
    batches = batches_of(
        prepared.train,
        normaliser_of(prepared.run),
        augment,
        batch_size=prepared.run.training.batch_size,
        order_seed=0,
        augmentation_seed=0,
    )
    seen, expected = (found.pixels(0, 0)[0] for found in (batches, train_batches(prepared)))
    assert np.array_equal(seen, expected)


def test_classes_without_test_pictures_are_told_before_training(tmp_path: Path) -> None:
    root = tmp_path / "shades"
    for split in ("train", "test"):
        shade(root / split, 12)
    name, place = name_and_root(str(root))
    data = {"name": name, "root": place, "image_size": 16}
    assert not any("test images" in text for text in resolve(reslab.recipe(data=data)).warnings)
    shutil.rmtree(root / "test/dark")
    warnings = resolve(reslab.recipe(data=data)).warnings
    assert sum("1 class has no test images" in text for text in warnings) == 1
    fold = resolve(reslab.recipe(data={**data, "folds": 3, "fold": 1})).warnings
    assert not any("test images" in text for text in fold)


def test_mirroring_is_told_of_unless_it_was_asked_for(tmp_path: Path) -> None:
    name, place = name_and_root(str(shade(tmp_path / "shades", 12)))
    data = {"name": name, "root": place, "image_size": 16}
    for augment, count in (({}, 1), ({"flip": True}, 0), ({"flip": False}, 0)):
        prepared = resolve(reslab.recipe(data={**data, "augment": augment}))
        assert sum("are mirrored" in text for text in prepared.warnings) == count
        assert prepared.run.data.augment.flip is augment.get("flip", True)
