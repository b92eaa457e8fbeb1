"""A picture is the same tensor for training, evaluation and prediction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import reslab
from reslab.catalog.datasets import name_and_root
from reslab.spec.recipes import recipe_document
from reslab.spec.run import RunSpec
from reslab.spec.text import build
from reslab.workbench.resolve import normaliser_of, resolve, train_batches

MODES = ("RGB", "L", "RGBA", "LA", "P", "1", "I;16", "CMYK")
SUFFIXES = {"RGBA": (".png", ".webp"), "LA": (".png",), "P": (".png", ".gif"), "I;16": (".png",)}
USUAL = (".png", ".jpg", ".bmp", ".webp")


def odd_picture(rng: np.random.Generator) -> tuple[Image.Image, str, dict[str, object]]:
    """A picture of any mode, size, format and orientation."""
    mode = str(rng.choice(MODES))
    width, height = (int(side) for side in rng.integers(3, 90, 2))
    if mode == "I;16":
        image = Image.fromarray(rng.integers(0, 2**16, (height, width)).astype(np.uint16))
    else:
        colours = rng.integers(0, 256, (height, width, 4)).astype(np.uint8)
        image = Image.fromarray(colours).convert("RGBA")
        image = (
            image.convert("RGB").convert(mode)
            if mode not in ("RGBA", "LA")
            else image.convert(mode)
        )
    suffix = str(rng.choice((".jpg",) if mode == "CMYK" else SUFFIXES.get(mode, USUAL)))
    if suffix == ".webp" and mode not in ("RGB", "RGBA"):
        suffix = ".png"
    options: dict[str, object] = {}
    if suffix in (".jpg", ".png") and rng.random() < 0.4:
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = int(rng.integers(1, 9))  # type: ignore[index]
    if suffix == ".jpg":
        options |= {"quality": int(rng.integers(40, 96)), "progressive": bool(rng.random() < 0.3)}
        if mode == "1":
            image = image.convert("L")
    return image, suffix, options


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("odd") / "pictures"
    rng = np.random.default_rng(0)
    for number in range(500):
        image, suffix, options = odd_picture(rng)
        folder = root / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        image.save(folder / f"{number:03}{suffix}", **options)
    return root


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
def test_500_odd_pictures_are_the_same_everywhere(pictures: Path, tmp_path: Path, fit: str) -> None:
    name, root = name_and_root(str(pictures))
    asked = {
        "data": {
            "name": name, "root": root, "fit": fit, "image_size": 24, "test": 0.2,
            "validation": 40, "augment": {"pad": 0, "flip": False},
        },
        "training": {"epochs": 1, "batch_size": 40},
    }  # fmt: skip
    prepared = resolve(build(RunSpec, recipe_document("fast", asked)))
    run = reslab.train(build(RunSpec, recipe_document("fast", asked)), out=tmp_path / "run")
    normaliser = normaliser_of(prepared.run)
    files = sorted(path for path in pictures.rglob("*") if path.is_file())
    predicted = {path: normaliser(run.decode(path)[None])[0] for path in files}

    source = prepared.source
    trained = train_batches(prepared)
    pool, test = source.parts
    seen = 0
    for step in range(trained.steps_per_epoch):
        batch, numbers = trained.batch(0, step), trained.numbers_of(0, step)
        for image_CHW, number in zip(batch.images_NCHW, numbers, strict=True):
            assert torch.equal(image_CHW, predicted[pictures / pool[number].path])
            seen += 1
    for file, pixels_CHW in zip(test, source.load_test().pixels_NCHW[:], strict=True):
        assert torch.equal(normaliser(pixels_CHW[None])[0], predicted[pictures / file.path])
        seen += 1
    # The last, smaller batch of training and validation are not looked at.
    assert seen >= 500 - 40 - 40 and len(files) == 500
