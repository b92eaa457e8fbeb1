"""Where packs lie, and which go for others."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock, Timeout

from reslab.data.pictures import packs as module
from reslab.data.pictures.packed import Entry, Pack, describe
from reslab.data.pictures.packs import Shelf, bytes_of, count_dead

SHAPE = (1, 2, 2)


def add(pack: Pack, *names: str) -> None:
    pixels = np.arange(4, dtype=np.uint8).reshape(SHAPE)
    pack.add(
        [(describe(Entry(name=name, size=1, changed=1), pixels), pixels) for name in names],
        capacity=99,
    )


def filled(folder: Path, key: str, count: int, used: int) -> Shelf:
    shelf = Shelf(folder, key)
    add(shelf.open(SHAPE), *(f"{n}" for n in range(count)))
    os.utime(shelf.folder, (used, used))
    return shelf


def test_a_pack_is_found_again(tmp_path: Path) -> None:
    filled(tmp_path, "a", 3, 1)
    assert Shelf(tmp_path, "a").open(SHAPE).slots == 3
    assert Shelf(tmp_path, "b").open(SHAPE).slots == 0
    assert bytes_of(tmp_path / "a") == 12


def test_a_new_pack_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    shelf = filled(tmp_path, "a", 3, 1)
    reader = shelf.open(SHAPE).reader()
    pack = shelf.begin_anew(SHAPE)
    assert pack.slots == 0
    add(pack, "x")
    assert list(Shelf(tmp_path, "a").open(SHAPE).entries) == ["x"]
    assert bytes_of(shelf.folder) == 4
    pixels = np.empty(SHAPE, np.uint8)
    reader.read(2, pixels)
    assert pixels.ravel().tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("room", "granted", "left"),
    [(100, 8, "abc"), (39, 8, "bc"), (27, 8, "c"), (7, 7, ""), (0, 0, "")],
)
def test_those_that_were_not_used_for_longest_make_room(
    tmp_path: Path, room: int, granted: int, left: str
) -> None:
    for used, key in enumerate("abc"):
        filled(tmp_path, key, 3, 1000 + used)
    assert Shelf(tmp_path, "new").make_room(8, room) == granted
    assert "".join(sorted(p.name for p in tmp_path.iterdir() if p.is_dir())) == left


def test_a_pack_that_somebody_writes_to_stays(tmp_path: Path) -> None:
    shelf = filled(tmp_path, "a", 3, 1)
    with FileLock(tmp_path / "a.lock", is_singleton=False, thread_local=False):
        assert Shelf(tmp_path, "new").make_room(8, 15) == 3
    assert bytes_of(shelf.folder) == 12


def test_who_writes_was_promised_room_and_others_get_the_rest(tmp_path: Path) -> None:
    first, second = Shelf(tmp_path, "a"), Shelf(tmp_path, "b")
    with first.held(), second.held():
        for shelf in (first, second):
            shelf.open(SHAPE)
        assert first.make_room(12, 20) == 12
        assert second.make_room(12, 20) == 8
        # Nor does anybody count what it was promised itself.
        assert first.make_room(16, 20) == 12
    # None of it was used.
    assert Shelf(tmp_path, "c").make_room(20, 20) == 20


def test_what_was_promised_to_who_was_killed_counts_no_more(tmp_path: Path) -> None:
    shelf = filled(tmp_path, "a", 3, 1)
    (tmp_path / "a.promised").write_text("99")
    assert Shelf(tmp_path, "b").make_room(8, 20) == 8
    assert bytes_of(shelf.folder) == 12
    with shelf.held():
        assert Shelf(tmp_path, "c").make_room(8, 20) == 8
        assert bytes_of(shelf.folder) == 12


def test_who_writes_nothing_needs_no_promise(tmp_path: Path) -> None:
    shelf = filled(tmp_path, "a", 3, 1)
    with shelf.held():
        assert shelf.make_room(12, 20) == 12
        assert not list(tmp_path.glob("*.promised"))
        assert shelf.make_room(16, 20) == 16
        assert list(tmp_path.glob("*.promised"))


def test_room_is_given_to_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path, "a", 3, 1)
    asked = []

    def look(folder: Path) -> int:
        with pytest.raises(Timeout), FileLock(tmp_path / "all.lock", timeout=0):
            pass
        asked.append(folder.name)
        return bytes_of(folder)

    monkeypatch.setattr(module, "bytes_of", look)
    assert Shelf(tmp_path, "new").make_room(8, 20) == 8
    assert sorted(asked) == ["a", "new"]


def test_what_is_deleted_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "reslab"):
        for used, key in enumerate("abc"):
            filled(tmp_path, key, 3, 1000 + used)
        Shelf(tmp_path, "new").make_room(8, 44)
        assert not caplog.messages
        Shelf(tmp_path, "new").make_room(8, 2**30)
        assert not caplog.messages
        Shelf(tmp_path, "new").make_room(8, 20)
    assert caplog.messages == [
        "warning: deleted 2 packs of other decoded pictures (0.00 GiB), the longest unused: all "
        "together may take 0.00 GiB (--cache-size)"
    ]


def test_what_another_process_deletes_is_no_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(tmp_path, "a", 3, 1)
    monkeypatch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(FileNotFoundError()))
    assert Shelf(tmp_path, "new").make_room(8, 8) == 8
    assert bytes_of(tmp_path / "gone") == 0


def test_what_was_half_deleted_is_deleted(tmp_path: Path) -> None:
    shelf = filled(tmp_path, "a", 3, 1)
    shelf.folder.rename(tmp_path / "a.going")
    assert Shelf(tmp_path, "new").make_room(8, 15) == 8
    assert not (tmp_path / "a.going").exists()


def test_who_waits_for_a_pack_that_is_deleted_finds_an_empty_one(tmp_path: Path) -> None:
    shelf = filled(tmp_path, "a", 3, 1)
    Shelf(tmp_path, "new").make_room(8, 8)
    with shelf.held():
        pack = shelf.open(SHAPE)
        add(pack, "x")
    assert list(Shelf(tmp_path, "a").open(SHAPE).entries) == ["x"]


def test_dead_slots_are_counted(tmp_path: Path) -> None:
    shelf = filled(tmp_path, "a", 4, 1)
    pack = shelf.open(SHAPE)
    add(pack, "0")
    pack.add([(Entry(name="bad", size=1, changed=1, fault="torn"), None)], capacity=99)
    assert count_dead(pack, set(), lambda _: True) == (1, 4)
    assert count_dead(pack, {"1"}, lambda name: name != "2") == (3, 2)


def test_what_a_kill_left_of_an_old_pack_is_deleted(tmp_path: Path) -> None:
    shelf = filled(tmp_path, "a", 3, 1)
    # Ended between the making of the new one and the end of the old one.
    (shelf.folder / "1").mkdir()
    add(shelf.open(SHAPE), "x")
    assert bytes_of(shelf.folder) == 4
    assert [path.name for path in shelf.folder.iterdir()] == ["1"]
