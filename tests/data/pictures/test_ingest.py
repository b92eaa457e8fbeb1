"""Decoding into the cache and out of it."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reslab.data.pictures import ingest as module
from reslab.data.pictures.ingest import ingest
from reslab.data.pictures.packed import Pack
from reslab.data.pictures.packs import bytes_of
from reslab.data.pictures.preprocess import Fit, decode_image
from reslab.data.pictures.stores import Files, decode_from
from reslab.folders import cache_folder

FIT = Fit(channels=3, size=8)
NAMES = tuple(f"{n}.png" for n in range(6))
ROOM = 2**20


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "cache_folder", cache_folder)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for n, name in enumerate(NAMES):
        save(folder / name, n)
    return folder


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what is decoded."""
    names: list[str] = []

    def watched(store, name, fit):
        names.append(name)
        return decode_from(store, name, fit)

    monkeypatch.setattr(module, "decode_from", watched)
    monkeypatch.setattr("reslab.data.pictures.picture_pixels.decode_from", watched)
    return names


def save(path: Path, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (9, 12, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)


def take(root: Path, names=NAMES, fit=FIT, room=ROOM):
    return ingest(Files(root), names, fit, room=room, workers=2)


def expected(root: Path, names=NAMES) -> np.ndarray:
    return np.stack([decode_image(root / name, FIT) for name in names])


def packs() -> list[Path]:
    return sorted(path.parents[1] for path in cache_folder("pictures").glob("*/*/index.jsonl"))


def bytes_of_packs() -> list[int]:
    return sorted(bytes_of(path) for path in packs())


def test_pixels_are_those_of_the_decoder_and_decoded_once(root: Path, decoded: list[str]) -> None:
    for _ in range(2):
        found = take(root)
        np.testing.assert_array_equal(found.pixels_NCHW[:], expected(root))
    assert sorted(decoded) == sorted(NAMES)
    assert found.rows_N.tolist() == list(range(6)) and found.faults == {}


@pytest.mark.parametrize("room", [ROOM, 2 * 192, 0])
def test_every_way_of_indexing_gives_what_an_array_gives(root: Path, room: int) -> None:
    found, whole = take(root, room=room).pixels_NCHW, expected(root)
    assert (found.shape, found.ndim, len(found), found.dtype) == (whole.shape, 4, 6, np.uint8)
    truth = np.array([True, False, True, True, False, False])
    for key in (
        2,
        -1,
        slice(1, 4),
        slice(None, None, -2),
        np.array([5, 0, 5]),
        truth,
        np.array([], int),
    ):
        np.testing.assert_array_equal(found[key], whole[key])
    chosen = found.choose(np.array([4, 1, 3])).choose(np.array([2, 0]))
    np.testing.assert_array_equal(chosen[:], whole[[3, 4]])
    assert chosen.known.checksums_N.tolist() == found.known.checksums_N[[3, 4]].tolist()


def test_what_has_no_room_is_decoded_each_time(root: Path, decoded: list[str]) -> None:
    found = take(root, room=4 * 192 + 100)
    decoded.clear()
    for _ in range(2):
        np.testing.assert_array_equal(found.pixels_NCHW[:], expected(root))
    assert sorted(decoded) == ["4.png", "4.png", "5.png", "5.png"]
    assert bytes_of_packs() == [4 * 192]


def test_what_had_no_room_gets_it_when_there_is_some(root: Path, decoded: list[str]) -> None:
    take(root, room=2 * 192)
    found = take(root, room=5 * 192)
    assert sorted(decoded) == sorted([*NAMES, "2.png", "3.png", "4.png"])
    assert (found.pixels_NCHW.slots_N >= 0).sum() == 5
    decoded.clear()
    np.testing.assert_array_equal(found.pixels_NCHW[:], expected(root))
    assert decoded == ["5.png"]


def test_only_what_is_new_or_changed_is_decoded(root: Path, decoded: list[str]) -> None:
    take(root)
    decoded.clear()
    save(root / "1.png", 71)
    save(root / "new.png", 72)
    names = (*NAMES, "new.png")
    found = take(root, names)
    assert sorted(decoded) == ["1.png", "new.png"]
    np.testing.assert_array_equal(found.pixels_NCHW[:], expected(root, names))


def test_a_file_of_the_same_size_that_was_changed_is_noticed(root: Path) -> None:
    take(root)
    before = (root / "1.png").stat()
    content = bytearray((root / "1.png").read_bytes())
    shutil.copy(root / "2.png", root / "1.png")
    assert content != (root / "1.png").read_bytes()
    os.utime(root / "1.png", ns=(before.st_atime_ns, before.st_mtime_ns + 1000))
    np.testing.assert_array_equal(take(root).pixels_NCHW[1], expected(root)[1])


def test_faulty_pictures_are_left_out_and_looked_at_again_when_they_change(
    root: Path, decoded: list[str]
) -> None:
    whole = (root / "2.png").read_bytes()
    (root / "2.png").write_bytes(whole[:-30])
    (root / "3.png").unlink()
    for _ in range(2):
        found = take(root)
        assert found.rows_N.tolist() == [0, 1, 4, 5]
        assert list(found.faults) == ["2.png", "3.png"]
        assert "cannot be decoded" in found.faults["2.png"]
        assert "there is no image" in found.faults["3.png"]
        left = [NAMES[row] for row in found.rows_N]
        np.testing.assert_array_equal(found.pixels_NCHW[:], expected(root, left))
    assert decoded.count("2.png") == 1
    (root / "2.png").write_bytes(whole)
    save(root / "3.png", 3)
    assert take(root).faults == {}


def test_without_a_cache_everything_is_decoded_each_time(
    root: Path, tmp_path: Path, decoded: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("no folder")
    with caplog.at_level(logging.WARNING, "reslab"):
        found = take(root)
    assert "cannot be written" in caplog.text
    assert found.pixels_NCHW.homeless == 6
    decoded.clear()
    np.testing.assert_array_equal(found.pixels_NCHW[:], expected(root))
    assert sorted(decoded) == sorted(NAMES)


def test_another_fit_has_a_pack_of_its_own(root: Path) -> None:
    take(root)
    other = take(root, fit=Fit(channels=3, size=8, policy="squash"))
    assert len(packs()) == 2
    assert (other.pixels_NCHW[:] != expected(root)).any()


def test_the_pack_that_was_not_used_for_longest_makes_room(root: Path) -> None:
    for place, size in enumerate((4, 5)):
        take(root, fit=Fit(channels=3, size=size))
        (pack,) = [p for p in packs() if bytes_of(p) == 6 * 3 * size**2]
        os.utime(pack, (1000 + place, 1000 + place))
    take(root, room=6 * (192 + 75 + 48) - 1)
    assert bytes_of_packs() == [6 * 75, 6 * 192]


def test_sums_are_those_of_the_pixels(root: Path) -> None:
    found, whole = take(root), expected(root).astype(np.int64)
    np.testing.assert_array_equal(found.pixels_NCHW.known.sums_NC, whole.sum(axis=(2, 3)))
    np.testing.assert_array_equal(found.pixels_NCHW.known.squares_NC, (whole**2).sum(axis=(2, 3)))


def test_how_far_it_is_is_told(root: Path) -> None:
    told: list[tuple[int, int]] = []
    ingest(Files(root), NAMES, FIT, room=ROOM, workers=1, tell=lambda *now: told.append(now))
    assert told == [(6, 6)]


def index_of(root: Path) -> Path:
    (pack,) = packs()
    return next(pack.glob("*/index.jsonl"))


def test_a_folder_that_is_copied_anew_takes_no_more_room(root: Path) -> None:
    before = take(root).pixels_NCHW
    for turn in range(3):
        for name in NAMES:
            os.utime(root / name, (2000 + turn, 2000 + turn))
        found = take(root)
        np.testing.assert_array_equal(found.pixels_NCHW[:], expected(root))
        assert found.pixels_NCHW.homeless == 0
        assert bytes_of_packs() == [6 * 192]
    # Who had opened it before reads on.
    np.testing.assert_array_equal(before[:], expected(root))


def test_a_few_changed_pictures_do_not_begin_a_pack_anew(root: Path, decoded: list[str]) -> None:
    take(root)
    for turn in range(2):
        decoded.clear()
        os.utime(root / "1.png", (2000 + turn, 2000 + turn))
        take(root)
        assert decoded == ["1.png"]


def test_renamed_pictures_leave_nothing_behind(root: Path) -> None:
    take(root)
    for name in NAMES:
        (root / name).rename(root / f"new-{name}")
    take(root, [f"new-{name}" for name in NAMES])
    assert bytes_of_packs() == [6 * 192]


def test_pictures_of_another_split_are_no_waste(root: Path, decoded: list[str]) -> None:
    take(root, NAMES[:5])
    take(root, NAMES[5:])
    decoded.clear()
    take(root)
    assert decoded == []


def test_other_libraries_decode_anew(
    root: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    take(root)
    decoded.clear()
    monkeypatch.setattr(module, "DECODER", (*module.DECODER[:-1], "another"))
    take(root)
    assert sorted(decoded) == sorted(NAMES)


def wait_for_the_seal(root: Path) -> None:
    """It is sealed by a thread of its own."""
    index = index_of(root)
    deadline = time.monotonic() + 30
    while not Pack(index.parent, (3, 8, 8)).is_sealed:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_pack_is_sealed_even_where_nothing_was_decoded(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed = take(root) and index_of(root).parent / "sealed"
    assert not sealed.exists()
    # Nothing is added, and what was is on the disk.
    take(root)
    assert sealed.exists()
    sealed.unlink()
    monkeypatch.setattr(module, "_SEAL_AFTER", 0.0)
    save(root / "1.png", 71)
    take(root)
    wait_for_the_seal(root)


def test_many_pictures_are_worth_to_build_the_kernels(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[None] = []
    monkeypatch.setattr(module, "find_kernels", lambda: asked.append(None))
    take(root)
    assert not asked
    monkeypatch.setattr(module, "_MANY", 6)
    take(root, fit=Fit(channels=3, size=9))
    take(root, fit=Fit(channels=3, size=9))
    assert len(asked) == 1


CHILD = """
import sys
import numpy as np
from pathlib import Path
from reslab.data.pictures.ingest import ingest
from reslab.data.pictures.preprocess import Fit
from reslab.data.pictures.stores import Files, decode_from
names = [p.name for p in sorted(Path(sys.argv[1]).iterdir())]
print("begun", flush=True)
found = ingest(Files(Path(sys.argv[1])), names, Fit(channels=3, size=64), room=2**30, workers=2)
np.save(sys.argv[2], found.pixels_NCHW[:])
"""


def many(folder: Path) -> np.ndarray:
    """The pixels of pictures that take a while."""
    folder.mkdir()
    image = np.random.default_rng(0).integers(0, 256, (300, 300, 3)).astype(np.uint8)
    for n in range(150):
        Image.fromarray(np.roll(image, n, axis=0)).save(folder / f"{n:03}.jpg")
    fit = Fit(channels=3, size=64)
    return np.stack([decode_image(path, fit) for path in sorted(folder.iterdir())])


def begin(folder: Path, out: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), str(out)], stdout=subprocess.PIPE
    )


def test_two_processes_do_each_other_no_harm(tmp_path: Path) -> None:
    whole = many(tmp_path / "many")
    outputs = [tmp_path / f"{n}.npy" for n in range(2)]
    children = [begin(tmp_path / "many", out) for out in outputs]
    for child, out in zip(children, outputs, strict=True):
        child.communicate(timeout=120)
        np.testing.assert_array_equal(np.load(out), whole)
    assert bytes_of_packs() == [150 * 3 * 64**2]


def test_a_kill_in_the_middle_costs_no_more_than_time(tmp_path: Path) -> None:
    whole = many(tmp_path / "many")
    names = [p.name for p in sorted((tmp_path / "many").iterdir())]
    in_the_middle = 0
    for pause in (None, 0.0, 0.01, 0.03, 0.1):
        child = begin(tmp_path / "many", tmp_path / "none.npy")
        assert child.stdout is not None and child.stdout.readline()
        # Pixels of this turn, and not only of those before, are there already.
        before = sum(path.stat().st_size for path in cache_folder("pictures").glob("*/*/pixels*"))
        while pause is not None and child.poll() is None:
            now = sum(path.stat().st_size for path in cache_folder("pictures").glob("*/*/pixels*"))
            if now > before:
                time.sleep(pause)
                break
        child.kill()
        child.communicate()
        in_the_middle += 0 < sum(bytes_of_packs()) < whole.size
    assert in_the_middle
    found = ingest(Files(tmp_path / "many"), names, Fit(channels=3, size=64), room=2**30, workers=2)
    np.testing.assert_array_equal(found.pixels_NCHW[:], whole)


PATIENT = """
import functools
import sys
from pathlib import Path
from reslab.data.pictures.ingest import ingest
from reslab.data.pictures.preprocess import Fit
from reslab.data.pictures.stores import Files

@functools.cache
def wait():
    print("begun", flush=True)
    sys.stdin.readline()

class Patient(Files):
    def read(self, name):
        wait()
        return super().read(name)

root = Path(sys.argv[1])
names = sorted(path.name for path in root.iterdir())
ingest(Patient(root), names, Fit(channels=3, size=8), room=int(sys.argv[2]), workers=1)
"""


def begin_patiently(root: Path, room: int) -> subprocess.Popen[bytes]:
    """A process that is in the middle of decoding, and goes on when it is told to."""
    child = subprocess.Popen(
        [sys.executable, "-c", PATIENT, str(root), str(room)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None and child.stdout.readline() == b"begun\n"
    return child


def test_two_processes_at_once_keep_to_the_room_of_all(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "other")
    room = 9 * 192 + 100
    children = [begin_patiently(folder, room) for folder in (root, tmp_path / "other")]
    for child in children:
        child.communicate(b"\n", timeout=120)
        assert child.returncode == 0
    assert bytes_of_packs() == [3 * 192, 6 * 192]


def test_what_was_promised_to_a_process_that_is_killed_is_free(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "other")
    child = begin_patiently(tmp_path / "other", ROOM)
    assert take(root, room=6 * 192).pixels_NCHW.homeless == 6
    child.kill()
    child.communicate()
    assert list(cache_folder("pictures").glob("*.promised"))
    assert take(root, room=6 * 192).pixels_NCHW.homeless == 0


def test_what_the_system_refused_once_is_tried_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path):
        if path.name == "3.png":
            raise OSError(5, "Input/output error")
        return path.read_bytes()

    with monkeypatch.context() as patch:
        patch.setattr("reslab.data.pictures.stores.read_file", refuse)
        assert list(take(root).faults) == ["3.png"]
    assert take(root).faults == {}
    np.testing.assert_array_equal(take(root).pixels_NCHW[:], expected(root))
