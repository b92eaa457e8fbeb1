"""A picture of what a net would see of a data set."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from reslab.evaluation.canvas import save
from reslab.evaluation.tiles import samples
from reslab.spec.run import RunSpec
from reslab.workbench.resolve import resolve, train_batches
from reslab.writing import check_parent


@dataclass(frozen=True)
class Preview:
    """What was drawn.

    Attributes:
        images: how many there are in the picture.
        warnings: what a training with these settings would tell first.
    """

    images: int
    warnings: tuple[str, ...]


def draw_preview(spec: RunSpec, out: Path, *, count: int, augmented: bool) -> Preview:
    """Write a grid of training images with their classes.

    Args:
        spec: of a training that would see them; its seeds draw them.
        out: the picture to write.
        count: images to show, at most those that there are.
        augmented: show them as the training augments them.

    Raises:
        UserError: where the data set cannot be read or the picture not written.
    """
    check_parent(out, "--out")
    prepared = resolve(spec)
    batches = replace(
        train_batches(prepared, augmented=augmented), batch_size=min(count, len(prepared.train))
    )
    pixels_NCHW, labels_N = batches.pixels(0, 0)
    save(samples(pixels_NCHW, labels_N.numpy(), prepared.run.facts.classes), out)
    return Preview(len(labels_N), prepared.warnings)
