"""Which of the published training images are trained on, and which validate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import train_test_split

from reslab.errors import UserError

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Split:
    """Positions within the published training split, ascending; the two never meet."""

    train: Indices
    validation: Indices


def split_train(
    labels_N: npt.NDArray[np.int64], *, validation: int, limit: int | None, seed: int
) -> Split:
    """Split validation off, stratified by class; a pure function of its arguments.

    Validation is drawn first, so that ``limit`` shrinks what is trained on and not what it
    is judged by.

    Args:
        labels_N: the label of every published training image.
        validation: images to split off; 0 for none.
        limit: train on at most so many of the rest; None for all.
        seed: of the draw.

    Raises:
        UserError: where a part could not hold every class, or nothing is left to train on.
    """
    everything = np.arange(len(labels_N))
    rest, held_out = _draw(everything, labels_N, validation, seed, "data.validation")
    if limit is not None and limit < len(rest):
        _, rest = _draw(rest, labels_N, limit, seed, "data.limit")
    return Split(np.sort(rest), np.sort(held_out))


def _draw(
    pool: Indices, labels_N: npt.NDArray[np.int64], count: int, seed: int, setting: str
) -> tuple[Indices, Indices]:
    """The pool without ``count`` drawn images, and those, in the pool's class proportions."""
    if count == 0:
        return pool, pool[:0]
    counts = np.bincount(labels_N[pool])
    classes = int((counts > 0).sum())
    if count < classes or len(pool) - count < classes:
        raise UserError(
            f"{setting} does not fit the {len(pool)} images that it is drawn from",
            expected=f"{classes} to {max(classes, len(pool) - classes)}, since there are "
            f"{classes} classes to draw from",
            received=str(count),
        )
    if counts[counts > 0].min() < 2:
        raise UserError(
            f"{setting} cannot be drawn by class, since a class has a single image",
            remedy="add images of it, or set data.validation=0 and data.limit=null",
        )
    left, drawn = train_test_split(
        pool, test_size=count, stratify=labels_N[pool], random_state=seed
    )
    return left, drawn
