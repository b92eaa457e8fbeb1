"""Which images are learned from, which validate, and what is done to them: before any is decoded.

The rules are in ``reslab.workbench.decide_data``.
"""

from __future__ import annotations

from reslab.data.batches import TrainBatches
from reslab.data.normalise import Normaliser
from reslab.data.pictures.folder import FolderSource
from reslab.data.pictures.preprocess import Fit, background_level
from reslab.data.source import DataSource, Images
from reslab.data.split import Split, split_train
from reslab.errors import UserError
from reslab.spec.data import DataSpec
from reslab.spec.resolved import ResolvedAugment
from reslab.spec.text import Document, build, merge
from reslab.workbench.decide_data import (
    decide_data,
    doubt_augmentation,
    doubt_classes,
    doubt_tested,
    tell_flips,
)
from reslab.workbench.sources import tell_faults, tell_not_excluded, tell_passed_over


def choose_images(asked: DataSpec, source: DataSource, published: Images) -> tuple[Document, Split]:
    """What is decided of the data, and the split of the published training images.

    Raises:
        UserError: where the images cannot be what was asked for.
    """
    card = source.card
    published.check_fits(card.channels, card.image_size, len(card.classes))
    judged = None if published.judged_N is None else int(published.judged_N.sum())
    data = decide_data(asked, card, len(published), judged=judged)
    if isinstance(source, FolderSource) and source.has_test:
        # Told, so that none are drawn from what was trained on where these are gone one day.
        data["test"] = 0.0
    split = split_images(asked, data["validation"], published)
    if len(split.train) == 0:
        raise UserError(
            f"there are no images to train on in {card.title}",
            received=f"{len(split.validation):,} for validation, and none else",
            remedy="add some, or `reslab data check` tells what is wrong with them",
        )
    return data, split


def split_images(data: DataSpec, validation: int, published: Images) -> Split:
    """The split of the published training images; ``validation``: images that it takes off."""
    return split_train(
        published.labels_N,
        validation=validation,
        limit=data.limit,
        seed=data.split_seed,
        folds=data.folds,
        fold=data.fold,
        groups_N=published.groups_N,
        judged_N=published.judged_N,
    )


def augment_of(asked: DataSpec, data: Document) -> ResolvedAugment:
    """Augmentation as it was asked for and decided; ``data``: see ``choose_images``."""
    return build(ResolvedAugment, merge(asked.augment.model_dump(mode="json"), data["augment"]))


def batches_of(
    images: Images,
    normaliser: Normaliser,
    augment: ResolvedAugment,
    *,
    batch_size: int,
    order_seed: int,
    augmentation_seed: int,
) -> TrainBatches:
    """Training images in augmented batches."""
    fill = Fit(channels=images.pixels_NCHW.shape[1], size=augment.crop, background=augment.fill)
    return TrainBatches(
        images=images,
        normaliser=normaliser,
        batch_size=batch_size,
        pad=augment.pad,
        level=background_level(fill),
        crop=augment.crop,
        flip=augment.flip,
        trivial=augment.trivial,
        cutout=augment.cutout,
        erasing=augment.erasing,
        resized=augment.resized,
        colour=augment.colour,
        order_seed=order_seed,
        augmentation_seed=augmentation_seed,
    )


def doubts_of_images(
    asked: DataSpec, source: DataSource, published: Images, split: Split, augment: ResolvedAugment
) -> tuple[str, ...]:
    """What whoever trains on these images should know before."""
    card = source.card
    # Of a fold the images that were held out are the test.
    untested = source.untested if isinstance(source, FolderSource) and not asked.folds else ()
    return (
        *tell_passed_over(source),
        *tell_not_excluded(source),
        *tell_faults(published),
        *doubt_classes(published.labels_N[split.train], card.classes),
        *doubt_tested(untested),
        *tell_flips(asked.augment.flip, card),
        *doubt_augmentation(augment.model_dump(), card),
    )
