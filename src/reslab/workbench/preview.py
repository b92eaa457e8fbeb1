"""A picture of what a net would see of a data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from reslab.data.batches import TrainBatches
from reslab.errors import UserError
from reslab.evaluation.canvas import save
from reslab.evaluation.tiles import samples
from reslab.spec.recipes import recipe
from reslab.workbench.resolve import normaliser_of, resolve


def draw_preview(
    name: str, root: str | None, out: Path, *, count: int, augmented: bool, seed: int
) -> None:
    """Write a grid of training images with their classes.

    Args:
        name: the data set.
        root: the folder that holds its files.
        out: the picture to write.
        count: images to show, at most those that there are.
        augmented: show them as the recipe ``fast`` augments them.
        seed: of the draw.

    Raises:
        UserError: where the data set cannot be read or the picture not written.
    """
    if not out.absolute().parent.is_dir():
        raise UserError(
            f"there is no folder {out.absolute().parent} to write {out.name} to",
            remedy="make it, or choose another --out",
        )
    spec = recipe(
        data={"name": name, "root": root},
        training={"batch_size": count},
        seeds={"base": seed},
    )
    prepared = resolve(spec)
    run = prepared.run
    augment = run.data.augment
    size = run.facts.image_size
    batches = TrainBatches(
        images=prepared.train,
        normaliser=normaliser_of(run),
        batch_size=count,
        pad=augment.pad if augmented else 0,
        crop=augment.crop if augmented else size,
        flip=augment.flip and augmented,
        cutout=augment.cutout if augmented else 0,
        order_seed=seed,
        augmentation_seed=seed,
    )
    pixels_NCHW, labels_N = batches.pixels(0, 0)
    labels = np.asarray(labels_N)
    save(samples(pixels_NCHW, labels, run.facts.classes), out)
