"""Photographs to measure reading with: JPEG files of 500 x 375 pixels, none like another.

They are parts of the sample photographs of scikit-learn and scikit-image, scaled, mirrored and
tinted, in folders of ten classes.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT, QUALITY = 500, 375, 90
CLASSES = 10

# Of scikit-image, those that come with the package.
_SAMPLES = ("astronaut", "chelsea", "coffee", "rocket")


def write_photographs(root: Path, count: int) -> None:
    """So many files below a folder, which is not there yet or has them already."""
    for number in range(count):
        path = root / f"class-{number % CLASSES}" / f"{number:05}.jpg"
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        photograph(number).save(path, quality=QUALITY)


def photograph(number: int) -> Image.Image:
    """The photograph of that number."""
    originals = _originals()
    return _part(originals[number % len(originals)], number)


@cache
def _originals() -> list[Image.Image]:
    from skimage import data  # noqa: PLC0415
    from sklearn.datasets import load_sample_images  # noqa: PLC0415

    arrays = [*load_sample_images().images, *(getattr(data, name)() for name in _SAMPLES)]
    return [Image.fromarray(array).convert("RGB") for array in arrays]


def _part(original: Image.Image, seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    share = rng.uniform(0.5, 1.0)
    width = share * min(original.width, original.height * WIDTH / HEIGHT)
    height = width * HEIGHT / WIDTH
    left = rng.uniform(0, original.width - width)
    top = rng.uniform(0, original.height - height)
    part = original.resize(
        (WIDTH, HEIGHT), Image.Resampling.BICUBIC, box=(left, top, left + width, top + height)
    )
    if rng.random() < 0.5:
        part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    # Noise of a camera, without which scaled-up parts would be too easy to decode.
    pixels_HWC = np.asarray(part) * rng.uniform(0.7, 1.0, 3) + rng.normal(0, 4, (HEIGHT, WIDTH, 3))
    return Image.fromarray(np.clip(pixels_HWC, 0, 255).astype(np.uint8))
