"""What is for the test; what comes of it is in test_folder.py and test_sources.py."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from reslab.data.pictures.layout import SplitName
from reslab.data.pictures.listing import Listed, Listing
from reslab.data.pictures.parts import divide, of_rank, take_out
from reslab.data.pictures.stores import Files


def listing(*splits: SplitName | None, count: int = 10) -> Listing:
    files = (
        Listed(path=f"{split}/{label}/{number}.png", label=label, split=split)
        for split in splits
        for label in ("cat", "dog")
        for number in range(count)
    )
    return Listing(store=Files(Path()), origin=Path(), files=tuple(files))


@pytest.mark.parametrize(
    ("splits", "share", "pool", "test"),
    [
        (("train", "test"), 0.5, {"train": 20}, {"test": 20}),
        (("train", "val"), 0.2, {"train": 16, "val": 20}, {"train": 4}),
        ((None,), 0.0, {None: 20}, {}),
        ((None,), 0.2, {None: 16}, {None: 4}),
        (("train", "val", "test"), 1.0, {"train": 20, "val": 20}, {"test": 20}),
        (("train", "val"), 1.0, {}, {"val": 20}),
        ((None,), 1.0, {}, {None: 20}),
        (("train",), 1.0, {}, {}),
    ],
)
def test_parts(
    splits: tuple[SplitName | None, ...],
    share: float,
    pool: dict[str | None, int],
    test: dict[str | None, int],
) -> None:
    parts = divide(listing(*splits), share, seed=0)
    assert [Counter(file.split for file in part) for part in parts] == [pool, test]


def test_the_draw_follows_its_seed_and_takes_of_each_class() -> None:
    draws = [divide(listing(None), 0.3, seed=seed)[1] for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]
    assert Counter(file.label for file in draws[0]) == {"cat": 3, "dog": 3}


def test_paths_are_taken_out_where_they_are() -> None:
    files = listing(None, count=2).files
    pool, test = take_out(files, [files[3].path, files[0].path, "gone.png"])
    assert (pool, test) == (files[1:3], (files[0], files[3]))


@pytest.mark.parametrize(("shards", "processes"), [(1, 3), (3, 3), (7, 3), (2, 3), (4, 1)])
def test_processes_share_what_is_for_training(shards: int, processes: int) -> None:
    files = [
        Listed(path=f"{number}.png", label="cat", shard=f"{number % shards}.tar")
        for number in range(30)
    ]
    held = Listed(path="val.png", label="cat", split="val", shard="val.tar")
    parts = [of_rank([*files, held], rank, processes) for rank in range(processes)]
    assert all(held in part for part in parts)
    given = [file for part in parts for file in part if file != held]
    assert sorted(file.path for file in given) == sorted(file.path for file in files)
    # Nobody reads a shard that another one reads, where that can be.
    readers = Counter(shard for part in parts for shard in {file.shard for file in part})
    del readers["val.tar"]
    assert max(readers.values()) == (1 if shards >= processes else processes)
