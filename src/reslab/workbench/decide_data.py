"""The rules by which ``auto`` is decided of the data, and what is doubted of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from reslab.catalog.datasets import DataCard
from reslab.errors import UserError
from reslab.spec.data import DataSpec
from reslab.spec.text import Document
from reslab.wording import some
from reslab.workbench.decide import SMALL_STEM_BELOW

# The usual 0.08 is made for hundreds of epochs, of which short trainings have none to spare.
_LEAST_PART = 0.35

# What the cards of pictures of one's own have as ``kind``.
_OWN = "folder"


def decide_data(
    asked: DataSpec, card: DataCard, images: int, *, judged: int | None = None
) -> Document:
    """Validation images as a count, augmentation in pixels.

    Args:
        asked: what was asked for.
        card: the data set's.
        images: of the published training split.
        judged: those of them that the data set sets apart for validation; None: it does not.

    Raises:
        UserError: where the one or the other cannot be had.
    """
    if asked.folds is None and asked.fold is not None:
        raise UserError(
            "data.fold has no meaning without data.folds",
            remedy="set data.folds=5, or leave data.fold out",
        )
    if asked.folds is not None:
        if asked.fold is None:
            raise UserError(
                "a single training needs to know its fold",
                expected=f"data.fold from 1 to {asked.folds}",
                received="data.folds alone",
                remedy="set data.fold, or cross-validate with `reslab train --folds` or "
                "reslab.cross_validate",
            )
        if asked.fold > asked.folds:
            raise UserError(
                "there is no such data.fold",
                expected=f"1 to {asked.folds}",
                received=str(asked.fold),
            )
        # Validation is a share of what is left.
        images -= images // asked.folds
        judged = None
    augment = asked.augment
    # Half of the papers' 4 pixels of 32: short trainings gain from shifting less.
    pad = max(1, min(64, card.image_size // 16)) if augment.pad == "auto" else augment.pad
    crop = card.image_size if augment.crop == "auto" else augment.crop
    if crop > card.image_size + 2 * pad:
        raise UserError(
            "data.augment.crop is larger than the padded image",
            expected=f"at most {card.image_size} + 2 x {pad}",
            received=str(crop),
            remedy="enlarge data.augment.pad",
        )
    if augment.cutout > crop:
        raise UserError(
            "data.augment.cutout hides whole images",
            expected=f"at most {crop}",
            received=str(augment.cutout),
        )
    fill = augment.fill
    if fill == "auto":
        # A black rim would be a surprise around what lies on grey or white.
        fill = asked.background if card.kind == _OWN else "black"
    flip = card.flip if augment.flip == "auto" else augment.flip
    resized = augment.resized
    if resized == "auto":
        resized = 1.0 if card.image_size < SMALL_STEM_BELOW else _LEAST_PART
    return {
        "name": card.name,
        "image_size": card.image_size,
        "validation": _count_validation(asked, card, images, judged),
        "augment": {
            "pad": pad,
            "fill": fill,
            "crop": crop,
            "flip": flip,
            "resized": resized,
        },
    }


def _count_validation(asked: DataSpec, card: DataCard, images: int, judged: int | None) -> int:
    """Validation images, of so many to split; ``judged``: see ``decide_data``."""
    if judged is not None:
        if asked.validation not in ("auto", 0, judged):
            raise UserError(
                f"{card.title} has validation images of its own",
                expected=f"data.validation auto for these {judged:,}, or 0 for none",
                received=str(asked.validation),
            )
        return 0 if asked.validation == 0 else judged
    if asked.validation == "auto":
        if images >= 50_000:
            return 5000  # the papers' 45k/5k
        # One of each class, where that leaves more to learn from.
        return max(round(0.1 * images), min(len(card.classes), images // 2))
    if isinstance(asked.validation, int):
        return asked.validation
    count = round(asked.validation * images)
    if asked.validation > 0 and count == 0:
        raise UserError(
            f"data.validation is less than one of {images} images",
            received=str(asked.validation),
            remedy="set data.validation=0 if you want none",
        )
    return count


def doubt_augmentation(augment: Document, card: DataCard) -> list[str]:
    """What is done to the images although it changes what they mean, by the data set's card."""
    if card.flip:
        return []
    doubts = {
        "flip": "mirrors images",
        "trivial": "turns images by up to 135 degrees",
    }
    return [
        f"data.augment.{name} {what}, which changes what those of {card.name} mean"
        for name, what in doubts.items()
        if augment[name]
    ]


def tell_flips(asked: bool | str, card: DataCard) -> list[str]:
    """That pictures of one's own are mirrored, which nobody asked for.

    Args:
        asked: ``data.augment.flip``; whoever has set it knows.
        card: the data set's.
    """
    if asked != "auto" or card.kind != _OWN:
        return []
    return [
        "half of the training pictures are mirrored, since most things keep their meaning; where "
        "left and right matter (digits, text, signs, maps) set data.augment.flip=false"
    ]


def doubt_tested(untested: Sequence[str]) -> list[str]:
    """A warning where the test says nothing of a class.

    Args:
        untested: names of the classes without test images.
    """
    if not untested:
        return []
    are = "class has" if len(untested) == 1 else "classes have"
    return [
        f"{len(untested):,} {are} no test images, so that nothing tells how well they are known: "
        f"{some(untested)}"
    ]


def doubt_classes(labels_N: npt.NDArray[np.int64], classes: Sequence[str]) -> list[str]:
    """A warning where a class has nothing to be learned from.

    Args:
        labels_N: of the training images.
        classes: their names.
    """
    counts = np.bincount(labels_N, minlength=len(classes))
    missing = [name for name, count in zip(classes, counts.tolist(), strict=True) if not count]
    if not missing:
        return []
    are = "class has" if len(missing) == 1 else "classes have"
    return [
        f"{len(missing):,} {are} no training images, and will never be predicted: {some(missing)}; "
        "add some, or leave out what validation and test have of them"
    ]
