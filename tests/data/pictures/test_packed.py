"""Packs: what is written, and what a kill or a loss of power leaves of it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from reslab.data.pictures.packed import INDEX, PIXELS, SEALED, Entry, Pack, describe
from reslab.errors import StorageError

SHAPE = (3, 4, 4)
RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, (5, *SHAPE)).astype(np.uint8)


def entry(number: int, **changes: object) -> Entry:
    return Entry(**{"name": f"{number}.png", "size": 10 + number, "changed": number, **changes})


def filled(folder: Path, count: int = 5, capacity: int = 100) -> Pack:
    pack = Pack(folder, SHAPE)
    pack.add(
        [(describe(entry(n), PICTURES[n]), PICTURES[n]) for n in range(count)], capacity=capacity
    )
    return pack


def check(pack: Pack, count: int) -> None:
    assert list(pack.entries) == [f"{n}.png" for n in range(count)]
    for n, found in enumerate(pack.entries.values()):
        np.testing.assert_array_equal(read(pack, found.slot), PICTURES[n])


def read(pack: Pack, slot: int) -> np.ndarray:
    pixels = np.empty(SHAPE, np.uint8)
    pack.reader().read(slot, pixels)
    return pixels


def test_pictures_are_found_again(tmp_path: Path) -> None:
    check(filled(tmp_path), 5)
    check(Pack(tmp_path, SHAPE), 5)


def test_what_is_described_is_what_the_pixels_are() -> None:
    found = describe(entry(0), PICTURES[0])
    wide = PICTURES[0].astype(int)
    assert found.sums == tuple(wide.sum(axis=(1, 2)))
    assert found.squares == tuple((wide**2).sum(axis=(1, 2)))
    assert found.crc != describe(entry(0), PICTURES[1]).crc


def test_an_empty_pack(tmp_path: Path) -> None:
    pack = Pack(tmp_path, SHAPE)
    pack.seal()
    assert (dict(pack.entries), pack.slots) == ({}, 0)
    with pytest.raises(StorageError, match="cut off while it was in use"):
        read(pack, 0)


def test_a_picture_that_has_changed_gets_another_slot(tmp_path: Path) -> None:
    pack = filled(tmp_path)
    before = pack.reader()
    pack.add([(describe(entry(0, size=99), PICTURES[4]), PICTURES[4])], capacity=100)
    assert (pack.entries["0.png"].slot, pack.entries["0.png"].size, pack.slots) == (5, 99, 6)
    pixels = np.empty(SHAPE, np.uint8)
    before.read(0, pixels)
    np.testing.assert_array_equal(pixels, PICTURES[0])
    assert Pack(tmp_path, SHAPE).entries["0.png"].slot == 5


def test_what_has_no_room_is_known_all_the_same(tmp_path: Path) -> None:
    filled(tmp_path, capacity=3)
    pack = Pack(tmp_path, SHAPE)
    assert [found.slot for found in pack.entries.values()] == [0, 1, 2, -1, -1]
    assert all(found.crc for found in pack.entries.values())


def test_faults_are_kept(tmp_path: Path) -> None:
    Pack(tmp_path, SHAPE).add([(entry(0, fault="torn"), None)], capacity=9)
    pack = Pack(tmp_path, SHAPE)
    assert (pack.entries["0.png"].fault, pack.entries["0.png"].slot, pack.slots) == ("torn", -1, 0)
    pack.seal()


@pytest.mark.parametrize("cut", [1, 30, 200])
def test_a_line_that_was_cut_short_is_cut_off(tmp_path: Path, cut: int) -> None:
    filled(tmp_path)
    content = (tmp_path / INDEX).read_bytes()
    (tmp_path / INDEX).write_bytes(content[:-cut])
    left = content[:-cut].count(b"\n")
    pack = Pack(tmp_path, SHAPE)
    check(pack, left)
    n = left
    pack.add([(describe(entry(n), PICTURES[n]), PICTURES[n])], capacity=9)
    check(Pack(tmp_path, SHAPE), left + 1)


def test_pixels_without_a_line_are_written_over(tmp_path: Path) -> None:
    filled(tmp_path, 2)
    with (tmp_path / PIXELS).open("ab") as file:
        file.write(b"\1" * 70)
    pack = Pack(tmp_path, SHAPE)
    pack.add([(describe(entry(2), PICTURES[2]), PICTURES[2])], capacity=9)
    check(Pack(tmp_path, SHAPE), 3)


def test_lines_without_their_pixels_are_not_believed(tmp_path: Path) -> None:
    filled(tmp_path)
    content = (tmp_path / PIXELS).read_bytes()
    (tmp_path / PIXELS).write_bytes(content[: 2 * 48 + 7])
    check(Pack(tmp_path, SHAPE), 2)


@pytest.mark.parametrize("is_sealed", [False, True])
def test_pixels_that_did_not_reach_the_disk_are_found_out(tmp_path: Path, is_sealed: bool) -> None:
    pack = filled(tmp_path, 3)
    pack.seal()
    pack.add([(describe(entry(3), PICTURES[3]), PICTURES[3])], capacity=9)
    if is_sealed:
        pack.seal()
    with (tmp_path / PIXELS).open("r+b") as file:
        file.seek(3 * 48)
        file.write(bytes(48))
    assert len(Pack(tmp_path, SHAPE).entries) == (4 if is_sealed else 3)


@pytest.mark.parametrize("content", [b"", b"many", b"-"])
def test_a_damaged_seal_seals_nothing(tmp_path: Path, content: bytes) -> None:
    filled(tmp_path).seal()
    (tmp_path / SEALED).write_bytes(content)
    check(Pack(tmp_path, SHAPE), 5)


@pytest.mark.parametrize("line", ["[]", "{}", '{"name": 1}', "nonsense"])
def test_lines_that_are_none_end_the_index(tmp_path: Path, line: str) -> None:
    filled(tmp_path, 2)
    with (tmp_path / INDEX).open("a") as file:
        file.write(line + "\n" + json.dumps({"name": "x"}) + "\n")
    check(Pack(tmp_path, SHAPE), 2)


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(StorageError, match=r"pixels.u8 cannot be written: received no space left"):
        filled(tmp_path)


@pytest.mark.parametrize("has_preadv", [True, False])
def test_slots_are_read_by_several_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_preadv: bool
) -> None:
    if not has_preadv:
        monkeypatch.delattr("os.preadv", raising=False)
    reader = filled(tmp_path).reader()

    def take(n: int) -> bool:
        pixels = np.empty(SHAPE, np.uint8)
        reader.read(n % 5, pixels)
        return bool((pixels == PICTURES[n % 5]).all())

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(take, range(400)))


def test_a_pack_that_is_cut_off_in_use_is_told(tmp_path: Path) -> None:
    pack = filled(tmp_path)
    reader = pack.reader()
    with (tmp_path / PIXELS).open("r+b") as file:
        file.truncate(100)
    with pytest.raises(StorageError, match=r"pixels.u8 was cut off .*begin again"):
        reader.read(3, np.empty(SHAPE, np.uint8))


def test_whether_it_is_sealed_is_known(tmp_path: Path) -> None:
    pack = Pack(tmp_path, SHAPE)
    assert pack.is_sealed
    pack = filled(tmp_path)
    assert not pack.is_sealed
    pack.seal()
    assert pack.is_sealed and Pack(tmp_path, SHAPE).is_sealed
    pack.add([(describe(entry(0, size=99), PICTURES[4]), PICTURES[4])], capacity=100)
    assert not pack.is_sealed


def test_a_seal_does_not_outlive_what_it_sealed(tmp_path: Path) -> None:
    filled(tmp_path).seal()
    (tmp_path / PIXELS).unlink()
    pack = Pack(tmp_path, SHAPE)
    assert not pack.entries
    pack.add([(describe(entry(n), PICTURES[n]), PICTURES[n]) for n in range(5)], capacity=9)
    with (tmp_path / PIXELS).open("r+b") as file:
        file.seek(3 * 48)
        file.write(bytes(48))
    check(Pack(tmp_path, SHAPE), 3)
