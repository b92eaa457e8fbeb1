"""Which of the published training images are trained on, which validate, which are held out."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, train_test_split

from reslab.errors import UserError

Indices = npt.NDArray[np.intp]
Labels = npt.NDArray[np.int64]

# Parts of which validation takes some, where groups keep it from being drawn image by image.
_PARTS = 20


@dataclass(frozen=True)
class Split:
    """Positions within the published training split, ascending; the three never meet.

    Attributes:
        train: learned from.
        validation: chosen by.
        held_out: the fold that scores what was trained on the others; none without folds.
    """

    train: Indices
    validation: Indices
    held_out: Indices


def split_train(
    labels_N: Labels,
    *,
    validation: int,
    limit: int | None,
    seed: int,
    folds: int | None = None,
    fold: int | None = None,
    groups_N: Labels | None = None,
    judged_N: npt.NDArray[np.bool_] | None = None,
) -> Split:
    """Split a fold and validation off, stratified by class; a pure function of its arguments.

    The fold is drawn first, then validation, so that ``limit`` shrinks what is trained on and
    not what it is judged by.

    Args:
        labels_N: the label of every published training image.
        validation: images to split off; 0 for none. With groups it is met as nearly as they
            allow.
        limit: train on at most so many of the rest; None for all.
        seed: of the draw.
        folds: parts of equal size, each of which is held out once; None for none.
        fold: the one that is held out, counted from 1.
        groups_N: a group for every image, such as a patient or a scene; images of one group
            are never divided between train, validation and fold. None: each is its own.
        judged_N: which images the data set sets apart for validation: they are it, all of them,
            unless ``validation`` is 0, and with folds they are drawn from like the others. None:
            it is drawn.

    Raises:
        UserError: where a part could not hold every class, or with groups what is trained on
            does not.
    """
    pool = np.arange(len(labels_N))
    held_out = pool[:0]
    if judged_N is not None and folds is None:
        rest, judged = np.flatnonzero(~judged_N), np.flatnonzero(judged_N)
        if limit is not None and limit < len(rest):
            _, rest = _draw(rest, labels_N, limit, seed, "data.limit")
        return Split(rest, judged if validation else held_out, held_out)
    if folds is not None and fold is not None:
        _check_folds(labels_N, folds, groups_N)
        pool, held_out = _fold(pool, labels_N, groups_N, folds=folds, fold=fold, seed=seed)
    if groups_N is None or validation == 0:
        rest, judged = _draw(pool, labels_N, validation, seed, "data.validation")
    else:
        rest, judged = _draw_groups(pool, labels_N, groups_N, validation, seed)
    if groups_N is not None:
        _check_classes(labels_N, rest)
    if limit is not None and limit < len(rest):
        _, rest = _draw(rest, labels_N, limit, seed, "data.limit")
    return Split(np.sort(rest), np.sort(judged), np.sort(held_out))


def split_off(
    labels_N: Labels, share: float, *, seed: int, groups: Sequence[str | None] = ()
) -> Indices:
    """Positions of about that share of the images of each class, ascending.

    Unlike ``split_train`` it takes none of a class that has too few, so that whatever there is
    can be split.

    Args:
        labels_N: the label of every image.
        share: between 0 and 1.
        seed: of the draw.
        groups: a name for each image; those of one name are drawn together or not at all, and
            None stands for itself. Empty: all stand for themselves.
    """
    pool = np.arange(len(labels_N))
    if any(groups):
        groups_N = number_groups(groups)
        # As many parts as leave some of the largest class to each.
        most = min(int(np.bincount(labels_N).max()), len(np.unique(groups_N)))
        parts = min(max(2, round(1 / min(share, 1 - share))), most)
        if parts < 2:
            return pool[:0]
        rest, drawn = _fold(pool, labels_N, groups_N, folds=parts, fold=1, seed=seed)
        return np.sort(drawn if share <= 0.5 else rest)
    rng = np.random.default_rng(seed)
    of_all = [pool[:0]]
    for label in np.unique(labels_N):
        of_class = rng.permutation(np.flatnonzero(labels_N == label))
        of_all.append(of_class[: min(round(share * len(of_class)), len(of_class) - 1)])
    found: Indices = np.sort(np.concatenate(of_all))
    return found


def number_groups(groups: Sequence[str | None]) -> Labels:
    """A number for each image, equal for those of one group; None stands for itself.

    >>> number_groups(["b", None, "b", None]).tolist()
    [2, 0, 2, 1]
    """
    names = [name or f"\0{row:09d}" for row, name in enumerate(groups)]
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def _fold(
    pool: Indices,
    labels_N: Labels,
    groups_N: Labels | None,
    *,
    folds: int,
    fold: int,
    seed: int,
) -> tuple[Indices, Indices]:
    """The pool without a fold, and that, each fold with the pool's class proportions."""
    groups = None if groups_N is None else groups_N[pool]
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    with warnings.catch_warnings():
        # Of classes rarer than there are parts, which groups cannot help.
        warnings.filterwarnings("ignore", category=UserWarning)
        splits = list(
            kind(n_splits=folds, shuffle=True, random_state=seed).split(
                pool, labels_N[pool], groups
            )
        )
    left, drawn = splits[fold - 1]
    return pool[left], pool[drawn]


def _check_folds(labels_N: Labels, folds: int, groups_N: Labels | None) -> None:
    """Refuse more folds than a class has images, or than there are groups."""
    images = int(np.unique(labels_N, return_counts=True)[1].min())
    groups = len(labels_N if groups_N is None else np.unique(groups_N))
    most, what = min((images, "images of the rarest class"), (groups, "groups"))
    if folds > most:
        raise UserError(
            "data.folds cannot be drawn",
            expected=f"at most {most} parts, since there are {most} {what}",
            received=str(folds),
        )


def _draw_groups(
    pool: Indices, labels_N: Labels, groups_N: Labels, count: int, seed: int
) -> tuple[Indices, Indices]:
    """The pool without about so many images, and those, no group divided."""
    groups = len(np.unique(groups_N[pool]))
    if groups < 2 or not 0 < count < len(pool):
        raise UserError(
            f"data.validation cannot be drawn by group from {len(pool)} images",
            expected=f"at least 2 groups, and 1 to {len(pool) - 1} images",
            received=f"{groups} groups, and {count}",
            remedy="set data.validation=0, or add groups",
        )
    # In as many parts as let some of them come near to the count.
    parts = max(2, min(groups, max(_PARTS, round(len(pool) / count))))
    taken = min(parts - 1, max(1, round(parts * count / len(pool))))
    drawn = np.concatenate(
        [
            _fold(pool, labels_N, groups_N, folds=parts, fold=part, seed=seed)[1]
            for part in range(1, taken + 1)
        ]
    )
    return np.setdiff1d(pool, drawn), drawn


def _check_classes(labels_N: Labels, rest: Indices) -> None:
    """Refuse to train without a class, which groups can bring about."""
    missing = sorted(set(np.unique(labels_N).tolist()) - set(np.unique(labels_N[rest]).tolist()))
    if missing:
        raise UserError(
            f"all images of class {missing[0]} belong to groups that were split off",
            remedy="choose another data.split_seed, or fewer groups of a single class",
        )


def _draw(
    pool: Indices, labels_N: Labels, count: int, seed: int, setting: str
) -> tuple[Indices, Indices]:
    """The pool without ``count`` drawn images, and those, in the pool's class proportions."""
    if count == 0:
        return pool, pool[:0]
    counts_N = np.bincount(labels_N[pool])[labels_N[pool]]
    # What a class has one image of, training has.
    single, divisible = pool[counts_N == 1], pool[counts_N > 1]
    kept = len(single) if setting == "data.limit" else 0
    classes = len(np.unique(labels_N[divisible]))
    most = len(divisible) - classes
    if not 0 < classes <= count - kept <= most:
        raise UserError(
            f"{setting} does not fit the {len(pool)} images that it is drawn from",
            expected=f"{classes + kept} to {max(classes, most) + kept}, since there are "
            f"{classes} classes to draw from",
            received=str(count),
        )
    left, drawn = train_test_split(
        divisible, test_size=count - kept, stratify=labels_N[divisible], random_state=seed
    )
    if kept:
        return left, np.concatenate([drawn, single])
    return np.concatenate([left, single]), drawn


def sample_evenly(labels_N: Labels, count: int, seed: int) -> Indices:
    """Positions of ``count`` images, ascending, each class in proportion.

    Unlike the parts of a split it may leave a rare class out.

    Args:
        labels_N: the label of every image.
        count: images to draw; all where there are fewer.
        seed: of the draw.
    """
    drawn_N = np.random.default_rng(seed).permutation(len(labels_N))
    by_class_N = drawn_N[np.argsort(labels_N[drawn_N], kind="stable")]
    if count >= len(labels_N):
        return np.arange(len(labels_N))
    # Every so many of them, from the middle of the first stretch on.
    steps = (np.arange(count) * 2 + 1) * len(labels_N) // (2 * count)
    found: Indices = np.sort(by_class_N[steps])
    return found
