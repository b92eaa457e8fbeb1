"""A picture of what a net would see of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from reslab.data.normalise import measure_normaliser
from reslab.data.pictures.folder import FolderSource
from reslab.data.source import Images
from reslab.errors import UserError
from reslab.evaluation.canvas import save
from reslab.evaluation.tiles import samples
from reslab.spec.run import RunSpec
from reslab.workbench.choose_images import (
    augment_of,
    batches_of,
    choose_images,
    doubts_of_images,
)
from reslab.workbench.sources import load_published, source_of
from reslab.writing import check_parent


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What was drawn.

    Attributes:
        images: how many there are in the picture.
        of: how many there are to train on.
        image_size: side of what the net sees, in pixels.
        channels: 1 grey, 3 colour.
        warnings: what a training with these settings would tell first of its images.
    """

    images: int
    of: int
    image_size: int
    channels: int
    warnings: tuple[str, ...]


def draw_preview(spec: RunSpec, out: Path, *, count: int, augmented: bool) -> Preview:
    """Write a grid of training images with their classes, of which no others are decoded.

    Args:
        spec: of a training that would see them; its seeds draw them.
        out: the picture to write.
        count: images to show, at most those that there are.
        augmented: show them as the training augments them.

    Raises:
        UserError: where the data set cannot be read or the picture not written.
    """
    check_parent(out, "--out")
    source = source_of(spec.data)
    published = (
        source.load_undecoded()
        if isinstance(source, FolderSource)
        else load_published(source, spec.data)
    )
    data, split = choose_images(spec.data, source, published)
    augment = augment_of(spec.data, data)
    drawn, faults = _draw(published, split.train, count, spec.seeds.base)
    pixels_NCHW, labels_N = drawn.pixels_NCHW[:], drawn.labels_N
    if augmented:
        batches = batches_of(
            drawn,
            measure_normaliser(drawn.pixels_NCHW),
            augment,
            batch_size=len(drawn),
            order_seed=spec.seeds.base,
            augmentation_seed=spec.seeds.base,
        )
        pixels_NCHW, labels = batches.pixels(0, 0)
        labels_N = labels.numpy()
    save(samples(pixels_NCHW, labels_N, source.card.classes), out)
    return Preview(
        images=len(drawn),
        of=len(split.train),
        image_size=source.card.image_size,
        channels=source.card.channels,
        warnings=(*doubts_of_images(spec.data, source, published, split, augment), *faults),
    )


def _draw(
    published: Images, rows: npt.NDArray[np.intp], count: int, seed: int
) -> tuple[Images, tuple[str, ...]]:
    """So many images of these rows, drawn at random, and what to say of those left out.

    Raises:
        UserError: where none of them can be decoded.
    """
    pixels: list[npt.NDArray[np.uint8]] = []
    chosen: list[int] = []
    faults: list[UserError] = []
    for row in np.random.default_rng(seed).permutation(rows).tolist():
        if len(chosen) == count:
            break
        try:
            pixels.append(published.pixels_NCHW[row])
        except UserError as error:
            faults.append(error)
        else:
            chosen.append(row)
    if not chosen:
        raise faults[0]
    told = tuple(f"training leaves out such as this: {error}" for error in faults[:1])
    return Images(np.stack(pixels), published.labels_N[chosen]), told
