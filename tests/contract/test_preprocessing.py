"""A picture is the same tensor for training, evaluation and prediction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

import reslab
from reslab.catalog.data_names import name_and_root
from reslab.data.checks.inspection import inspect_picture
from reslab.data.pictures.preprocess import Fit, decode_image, square
from reslab.data.pictures.stores import Files
from reslab.spec.recipes import recipe_document
from reslab.spec.run import RunSpec
from reslab.spec.text import build
from reslab.workbench.resolve import normaliser_of, resolve, train_batches

MODES = ("RGB", "L", "RGBA", "LA", "P", "1", "I;16", "CMYK")
SUFFIXES = {"RGBA": (".png", ".webp"), "LA": (".png",), "P": (".png", ".gif"), "I;16": (".png",)}
USUAL = (".png", ".jpg", ".bmp", ".webp")
XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="%d"/></x:xmpmeta>'
SIZE = 24


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


def turned_photograph(number: int) -> tuple[Image.Image, dict[str, object]]:
    """A JPEG that its EXIF or XMP turns, every other one so large that it is decoded smaller."""
    rng = np.random.default_rng(number)
    width, height = (400, 250) if number % 2 else (70, 50)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 8, 3)).astype(np.uint8))
    orientation = number % 8 + 1
    options: dict[str, object] = {"xmp": XMP % orientation}
    if number < 16:
        options = {"exif": Image.Exif()}
        options["exif"][0x0112] = orientation  # type: ignore[index]
    return coarse.resize((width, height), Image.Resampling.BICUBIC), options


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("odd") / "pictures"
    rng = np.random.default_rng(0)
    for number in range(500):
        if number < 32:
            image, options = turned_photograph(number // 2 + 16 * (number % 2))
            suffix = ".jpg"
        else:
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
            "name": name, "root": root, "fit": fit, "image_size": SIZE, "test": 0.2,
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
    seen = set()
    for step in range(trained.steps_per_epoch):
        batch, numbers = trained.batch(0, step), trained.numbers_of(0, step)
        for image_CHW, number in zip(batch.images_NCHW, numbers, strict=True):
            assert torch.equal(image_CHW, predicted[pictures / pool[number].path])
            seen.add(pool[number].path)
    rest = sorted(set(range(len(pool))) - set(prepared.numbers.tolist()))
    judged = [pool[number] for number in rest]
    for part, images in ((judged, prepared.validation), (test, source.load_test())):
        for file, pixels_CHW in zip(part, images.pixels_NCHW[:], strict=True):
            assert torch.equal(normaliser(pixels_CHW[None])[0], predicted[pictures / file.path])
            seen.add(file.path)
    assert len(seen) == len(files) == 500


def test_a_check_sees_pictures_as_they_are_decoded(pictures: Path) -> None:
    for path in sorted(pictures.rglob("*.jpg")):
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
        assert inspect_picture(Files(path.parent), path.name).size == upright.size
        # A large fit, for which nothing is decoded smaller, and which is no larger than it.
        fit = Fit(channels=3, size=min(upright.size))
        expected = square(np.array(upright.convert("RGB")), fit).astype(int)
        assert np.abs(decode_image(path, fit) - expected).max() <= 4
