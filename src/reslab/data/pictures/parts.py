"""Which pictures of a listing are for the test, and which for training and validation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from reslab.data.pictures.listing import Listed, Listing
from reslab.data.split import split_off

# For training and validation, and for the test.
Parts = tuple[tuple[Listed, ...], tuple[Listed, ...]]


def divide(listing: Listing, share: float, *, seed: int) -> Parts:
    """The parts that the listing names, or else some of its pictures drawn for the test.

    Args:
        listing: all pictures.
        share: that is drawn where none are for the test; of those for validation none is. 1:
            nothing is trained on, and tested is what is for validation, or else what is not for
            training.
        seed: of the draw.
    """
    test = listing.of("test")
    pool = tuple(file for file in listing.files if file.split != "test")
    if test or not share:
        return pool, test
    if share >= 1:
        return (), listing.of("val") or listing.of(None)
    drawable = [file for file in pool if file.split != "val"]
    labels_N = np.unique([file.label for file in drawable], return_inverse=True)[1]
    rows = split_off(
        labels_N.astype(np.int64), share, seed=seed, groups=[file.group for file in drawable]
    )
    return take_out(pool, [drawable[row].path for row in rows])


def take_out(files: Iterable[Listed], tested: Iterable[str]) -> Parts:
    """All pictures but those of some paths, and these."""
    wanted = set(tested)
    pool: list[Listed] = []
    test: list[Listed] = []
    for file in files:
        (test if file.path in wanted else pool).append(file)
    return tuple(pool), tuple(test)


def of_rank(files: Sequence[Listed], rank: int, processes: int) -> tuple[Listed, ...]:
    """What one of several processes learns from: whole shards, where there are enough of them.

    Args:
        files: for training; those for validation are everybody's.
        rank: of the process, from 0 on.
        processes: how many there are.
    """
    if processes == 1:
        return tuple(files)
    learned = [file for file in files if file.split != "val"]
    shards = {name: number for number, name in enumerate(sorted({f.shard for f in learned}))}
    by_shard = len(shards) >= processes
    mine = {
        file.path
        for number, file in enumerate(learned)
        if (shards[file.shard] if by_shard else number) % processes == rank
    }
    return tuple(file for file in files if file.split == "val" or file.path in mine)
