"""A picture of what a net would see of a data set."""

from __future__ import annotations

from pathlib import Path

from reslab.evaluation.canvas import save
from reslab.evaluation.tiles import samples
from reslab.spec.recipes import recipe
from reslab.workbench.resolve import resolve, train_batches
from reslab.writing import check_parent


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
    check_parent(out, "--out")
    spec = recipe(
        data={"name": name, "root": root},
        training={"batch_size": count},
        seeds={"base": seed},
    )
    prepared = resolve(spec)
    pixels_NCHW, labels_N = train_batches(prepared, augmented=augmented).pixels(0, 0)
    save(samples(pixels_NCHW, labels_N.numpy(), prepared.run.facts.classes), out)
