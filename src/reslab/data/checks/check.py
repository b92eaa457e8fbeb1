"""Everything that can be said against a folder of pictures before a net learns from it."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image

from reslab.catalog.datasets import Background
from reslab.data.checks.duplicates import equal_pictures, near_others
from reslab.data.checks.findings import Finding, found
from reslab.data.checks.inspection import Inspected, inspect_picture
from reslab.data.checks.kinds import KINDS
from reslab.data.pictures.listing import Listed, Listing, SplitName
from reslab.data.pictures.preprocess import FORMATS, OTHER_SUFFIXES
from reslab.data.pictures.stores import Store
from reslab.wording import counted

# A class is rare that has less than this share of the pictures of the largest.
_RARE = 0.1

# Which copy of equal pictures is kept, if only one of them is.
_KEPT_FIRST: tuple[SplitName | None, ...] = ("test", "val", "train", None)


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What a folder holds and what is wrong with it.

    Attributes:
        findings: in the order of ``reslab.data.checks.kinds.KINDS``.
        pictures: how many of each class, by split; "all" where the folder has no splits.
    """

    findings: tuple[Finding, ...]
    pictures: Mapping[str, Mapping[str, int]]

    def to_leave_out(self) -> dict[str, str]:
        """Files that had better be left out, with the kind of trouble."""
        return {
            file: finding.kind.name
            for finding in self.findings
            if finding.kind.leave_out
            for file in finding.files
            if file not in finding.spare
        }


def check_pictures(
    listing: Listing,
    image_size: int,
    *,
    background: Background = "grey",
    workers: int,
    tell: Callable[[int, int], None] = lambda done, whole: None,
) -> Checked:
    """Look at every file of a listing.

    Args:
        listing: the data set.
        image_size: side of the images that a net sees, in pixels.
        background: what transparent pixels will be laid on.
        workers: threads that decode.
        tell: told how many of how many pictures were looked at, again and again.
    """
    files = listing.files
    looked: list[Inspected] = []
    with ThreadPoolExecutor(workers, thread_name_prefix="check") as pool:
        look = partial(inspect_picture, listing.store, background=background)
        for one in pool.map(look, (file.path for file in files)):
            looked.append(one)
            tell(len(looked), len(files))
    gathered = [
        *_of_classes(listing),
        *_of_passed(listing),
        *_of_files(files, looked, image_size),
        *_of_copies(files, looked),
    ]
    order = {kind.name: place for place, kind in enumerate(KINDS)}
    gathered.sort(key=lambda finding: order[finding.kind.name])
    return Checked(findings=tuple(gathered), pictures=_count(files))


def _count(files: Iterable[Listed]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for file in files:
        counts[file.split or "all"][file.label] += 1
    return {split: dict(sorted(labels.items())) for split, labels in counts.items()}


def _of_classes(listing: Listing) -> Iterator[Finding]:
    """What is odd about the classes."""
    counts = _count(listing.files)
    learned = counts.get("train", counts.get("all", {}))
    others = {split: labels for split, labels in counts.items() if labels is not learned}
    yield from found(
        "classes_differ",
        [
            f"{split}: {label}"
            for split, labels in others.items()
            for label in labels
            if label not in learned
        ],
    )
    yield from found(
        "class_missing",
        [
            f"{split}: {label}"
            for split, labels in others.items()
            for label in learned
            if label not in labels
        ],
    )
    yield from found("single_image", [label for label, number in learned.items() if number == 1])
    alike: dict[str, list[str]] = defaultdict(list)
    for label in listing.classes:
        alike[re.sub(r"[\W_]+", "", label).casefold()].append(label)
    yield from found(
        "similar_classes", [name for names in alike.values() if len(names) > 1 for name in names]
    )
    most = max(learned.values(), default=0)
    rare = {label: number for label, number in learned.items() if number < _RARE * most}
    yield from found(
        "imbalance",
        list(rare),
        told=f"{min(rare.values(), default=0):,} to {most:,} pictures",
    )


def _of_passed(listing: Listing) -> Iterator[Finding]:
    """What was not taken for a part of the data."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for item in listing.passed_over:
        by_reason[item.reason].append(item.path)
    unlisted = [path for path in by_reason["no_image"] if _is_picture(listing.store, path)]
    yield from found("unlisted", unlisted)
    others = [path for path in by_reason["no_image"] if path.lower().endswith(OTHER_SUFFIXES)]
    yield from found("other_format", others)
    told = {*unlisted, *others}
    yield from found("no_image", [path for path in by_reason["no_image"] if path not in told])
    for reason, name in (
        ("hidden", "hidden"),
        ("outside", "outside"),
        ("unlabelled", "unlabelled"),
        ("no_class", "no_class"),
        ("twice", "twice"),
        ("damaged", "damaged_shard"),
        ("empty", "empty_class"),
        ("unreadable", "unreadable_folder"),
        ("loop", "loop"),
    ):
        yield from found(name, by_reason[reason])


def _is_picture(store: Store, name: str) -> bool:
    """Whether a file without the suffix of one is a picture all the same."""
    try:
        with store.open(name) as file, Image.open(file, formats=FORMATS):
            return True
    except Exception:  # noqa: BLE001 - whatever it is, it is none
        return False


def _of_files(
    files: Sequence[Listed], looked: Sequence[Inspected], image_size: int
) -> Iterator[Finding]:
    """What is odd about single files."""
    by_kind: dict[str, list[str]] = defaultdict(list)
    told: dict[str, str] = {}
    decoded = [one for one in looked if one.digest]
    has_colours = any(not one.is_grey for one in decoded)
    for file, one in zip(files, looked, strict=True):
        kinds = list(one.kinds)
        if one.digest and 2 * min(one.size) < image_size:
            kinds.append("tiny")
        if one.digest and one.is_grey and has_colours:
            kinds.append("grey")
        for kind in kinds:
            by_kind[kind].append(file.path)
            if one.told:
                told.setdefault(kind, f"{file.path}: {one.told}")
    for kind, paths in by_kind.items():
        yield from found(kind, paths, told=told.get(kind, ""))


def _of_copies(files: Sequence[Listed], looked: Sequence[Inspected]) -> Iterator[Finding]:
    """What is odd about several files together."""
    by_kind: dict[str, list[str]] = defaultdict(list)
    spare: dict[str, list[str]] = defaultdict(list)
    for rows in equal_pictures([one.digest for one in looked]):
        copies = sorted((files[row] for row in rows), key=lambda f: _KEPT_FIRST.index(f.split))
        if len({file.label for file in copies}) > 1:
            kind = "conflict"
        elif len({file.split for file in copies}) > 1:
            kind = "leak"
        else:
            kind = "duplicate"
        by_kind[kind] += [file.path for file in copies]
        spare[kind].append(copies[0].path)
    for kind, paths in by_kind.items():
        sets = counted(len(spare[kind]), "set")
        yield from found(kind, paths, told=f"{sets} of equal pictures", spare=spare[kind])
    yield from _of_near_copies(files, looked)


def _of_near_copies(files: Sequence[Listed], looked: Sequence[Inspected]) -> Iterator[Finding]:
    """Nearly equal pictures of which some may be tested that others taught."""
    # Of equal ones the first stands for all.
    first = {one.digest: row for row, one in reversed(list(enumerate(looked))) if one.digest}
    rows = sorted(first.values())
    if not rows:
        return
    splits = {split: number for number, split in enumerate(_KEPT_FIRST)}
    apart_N, together_N = near_others(
        np.stack([looked[row].small for row in rows]),
        np.array([splits[files[row].split] for row in rows]),
    )
    near = [files[row] for row in rows]
    leaks = [file.path for file, apart in zip(near, apart_N, strict=True) if apart]
    yield from found("near_leak", leaks)
    yield from found(
        "near_duplicate",
        [
            file.path
            for file, together in zip(near, together_N, strict=True)
            if together and file.split is None
        ],
    )
