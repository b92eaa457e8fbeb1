import hashlib
import io
import os
import pickle
import tarfile
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reslab.catalog.datasets import DATASETS, DataCard
from reslab.data.cifar import CifarSource, decode_batch
from reslab.errors import UserError
from reslab.folders import cache_folder
from tests.data.test_idx import everything_in, free_port, serve

CARDS = {card.name: card for card in DATASETS}


class Py2Array:
    """Pickles itself as the array that Python 2 and its numpy wrote into the published files.

    Hand-assembled opcodes: ``numpy.core.multiarray``, byte strings as BINSTRING.
    """

    @staticmethod
    def dump(array: np.ndarray, labels: list[int], key: str) -> bytes:
        def text(value: bytes) -> bytes:
            return b"T" + len(value).to_bytes(4, "little") + value

        def number(value: int) -> bytes:
            return b"J" + value.to_bytes(4, "little", signed=True)

        rows, columns = array.shape
        dtype = (
            b"cnumpy\ndtype\n" + text(b"u1") + number(0) + number(1) + b"\x87R"
            b"(" + number(3) + text(b"|") + b"NNN" + number(-1) + number(-1) + number(0) + b"tb"
        )
        data = (
            b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n"
            + number(0) + b"\x85" + text(b"b") + b"\x87R("
            + number(1) + number(rows) + number(columns) + b"\x86" + dtype + b"\x89"
            + text(array.tobytes()) + b"tb"
        )  # fmt: skip
        listed = b"](" + b"".join(number(label) for label in labels) + b"e"
        return (
            b"\x80\x02}(" + text(b"data") + data + text(key.encode()) + listed
            + text(b"filenames") + b"](e" + b"u."
        )  # fmt: skip


def batch(count: int, seed: int, key: str = "labels") -> bytes:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (count, 3072)).astype(np.uint8)
    return Py2Array.dump(pixels, [(seed + i) % 10 for i in range(count)], key)


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def pack(folder: str, members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def publish(name: str, members: dict[str, bytes], archive: bytes | None = None):
    """The card of ``name`` with the sums of tiny files, and the archive of those."""
    card = CARDS[name]
    archive = pack(card.folder, members) if archive is None else archive
    first, *files = card.files
    files = [replace(file, md5=md5(members.get(file.name, b""))) for file in files]
    first = replace(first, md5=md5(archive))
    return replace(card, train_images=20, test_images=4, files=(first, *files)), archive


def members_of(name: str) -> dict[str, bytes]:
    if name == "cifar100":
        return {"meta": b"?", "test": batch(4, 9, "fine_labels"),
                "train": batch(20, 1, "fine_labels")}  # fmt: skip
    # The published archive keeps no order either.
    order = ["data_batch_4", "test_batch", "data_batch_3", "batches.meta",
             "data_batch_2", "data_batch_5", "data_batch_1"]  # fmt: skip
    return {n: b"?" if n == "batches.meta" else batch(4, i) for i, n in enumerate(order)}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def tiny(tmp_path) -> tuple[DataCard, bytes, Path]:
    root = tmp_path / "root"
    root.mkdir()
    return *publish("cifar10", members_of("cifar10")), root


def extract(members: dict[str, bytes], folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name, content in members.items():
        (folder / name).write_bytes(content)
    return folder


# Reading


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_archive_and_extracted_folder_give_the_same_images(tmp_path, name):
    members = members_of(name)
    card, archive = publish(name, members)
    packed, unpacked = tmp_path / "packed", tmp_path / "unpacked"
    packed.mkdir()
    (packed / card.files[0].name).write_bytes(archive)
    extract(members, unpacked / card.folder)
    roots = [packed, packed / card.files[0].name, unpacked, unpacked / card.folder]
    for load in (CifarSource.load_train, CifarSource.load_test):
        results = [load(CifarSource(card, root)) for root in roots]
        assert len({images.fingerprint() for images in results}) == 1
        assert results[0].pixels_NCHW.shape[1:] == (3, 32, 32)
        assert results[0].pixels_NCHW.flags.writeable
    assert everything_in(packed) == [card.files[0].name]


def test_batches_come_in_their_numbers_order_and_planes_in_rgb(tiny):
    card, archive, root = tiny
    (root / card.files[0].name).write_bytes(archive)
    train = CifarSource(card, root).load_train()
    first = np.random.default_rng(6).integers(0, 256, (4, 3072)).astype(np.uint8)
    assert np.array_equal(train.pixels_NCHW[:4], first.reshape(4, 3, 32, 32))
    assert train.labels_N[:4].tolist() == [6, 7, 8, 9]
    assert len(train) == 20


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_a_pickle_of_todays_numpy_is_read_too(protocol):
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    for stored in (array, np.asfortranarray(array)):
        content = pickle.dumps({b"data": stored, b"labels": [0, 1]}, protocol)
        pixels, labels = decode_batch(content, "batch", width=3, classes=2)
        assert np.array_equal(pixels, array)
        assert labels.tolist() == [0, 1]


# What is refused


def test_a_changed_archive_is_not_opened(tiny):
    card, archive, root = tiny
    (root / card.files[0].name).write_bytes(archive + b"\0")
    with pytest.raises(UserError, match=f"expected MD5 {md5(archive)}, received MD5"):
        CifarSource(card, root).load_train()


def test_a_changed_batch_in_the_extracted_folder_is_named(tiny):
    card, _, root = tiny
    members = members_of("cifar10")
    folder = extract(members, root / card.folder)
    (folder / "data_batch_3").write_bytes(members["data_batch_3"][:-1] + b"?")
    with pytest.raises(UserError, match="data_batch_3 is not what was published"):
        CifarSource(card, root).load_train()
    assert len(CifarSource(card, root).load_test()) == 4


def test_a_root_without_the_files_is_told_and_left_alone(tiny):
    card, _, root = tiny
    with pytest.raises(UserError, match=r"holds neither cifar-10-python.tar.gz nor.*--root"):
        CifarSource(card, root).load_train()
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("cut", [0, 1, 20, 500, -200])
def test_a_truncated_archive_with_a_matching_sum_is_refused(tiny, cut):
    _, whole, root = tiny
    card, archive = publish("cifar10", members_of("cifar10"), whole[:cut])
    (root / card.files[0].name).write_bytes(archive)
    with pytest.raises(UserError, match=r"cifar-10-python.tar.gz"):
        CifarSource(card, root).load_train()


def test_a_missing_member_is_named(tiny):
    *_, root = tiny
    members = members_of("cifar10")
    del members["data_batch_2"]
    card, archive = publish("cifar10", members)
    (root / card.files[0].name).write_bytes(archive)
    with pytest.raises(UserError, match="lacks cifar-10-batches-py/data_batch_2"):
        CifarSource(card, root).load_train()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE])
def test_only_regular_files_are_read(tiny, kind, tmp_path):
    *_, root = tiny
    secret = tmp_path / "secret"
    secret.write_bytes(batch(4, 0))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        entry = tarfile.TarInfo("cifar-10-batches-py/test_batch")
        entry.type, entry.linkname = kind, str(secret)
        archive.addfile(entry)
    card, content = publish("cifar10", {"test_batch": batch(4, 0)}, buffer.getvalue())
    (root / card.files[0].name).write_bytes(content)
    with pytest.raises(UserError, match="lacks cifar-10-batches-py/test_batch"):
        CifarSource(card, root).load_test()


def test_a_member_that_is_too_large_is_not_held(tiny):
    *_, root = tiny
    card, archive = publish("cifar10", {"test_batch": bytes(2**20)})
    (root / card.files[0].name).write_bytes(archive)
    with pytest.raises(UserError, match="test_batch is too large"):
        CifarSource(card, root).load_test()


class Payload:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_hostile_pickle_runs_nothing(tiny, tmp_path, protocol):
    *_, root = tiny
    sentinel = tmp_path / "executed"
    # Proof that the payload works, so that its silence below means something.
    loaded = pickle.dumps(Payload(os.system, f"touch {sentinel}"), protocol)
    pickle.loads(loaded)
    assert sentinel.exists()
    sentinel.unlink()

    hostile = {b"data": Payload(os.system, f"touch {sentinel}"), b"labels": [0]}
    members = {"test_batch": pickle.dumps(hostile, protocol)}
    card, archive = publish("cifar10", members)
    (root / card.files[0].name).write_bytes(archive)
    with pytest.raises(UserError, match=r"asks for posix.system.*not loaded"):
        CifarSource(card, root).load_test()
    assert not sentinel.exists()


@pytest.mark.parametrize(
    "function", [eval, getattr, __import__, np.load, np.frombuffer, io.open, pickle.loads]
)
def test_no_other_function_is_known(function):
    with pytest.raises(UserError, match="not loaded"):
        decode_batch(pickle.dumps(Payload(function, "1")), "batch", width=3, classes=2)


def u8(*shape):
    return np.zeros(shape, np.uint8)


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        {b"labels": [0]},
        {b"data": b"xyz", b"labels": [0]},
        {b"data": u8(0, 3), b"labels": []},
        {b"data": u8(1, 4), b"labels": [0]},
        {b"data": u8(3), b"labels": [0, 0, 0]},
        {b"data": np.zeros((1, 3), np.int16), b"labels": [0]},
        {b"data": np.zeros((1, 3), object), b"labels": [0]},
        {b"data": u8(1, 3)},
        {b"data": u8(1, 3), b"labels": [0, 1]},
        {b"data": u8(1, 3), b"labels": [2]},
        {b"data": u8(1, 3), b"labels": [-1]},
        {b"data": u8(1, 3), b"labels": [True]},
        {b"data": u8(1, 3), b"labels": (0,)},
        {b"data": u8(1, 3), b"labels": ["0"]},
    ],
)
def test_a_pickle_of_something_else_is_refused(value):
    with pytest.raises(UserError, match=r"^batch does not hold"):
        decode_batch(pickle.dumps(value, protocol=4), "batch", width=3, classes=2)


GOOD = Py2Array.dump(np.arange(6, dtype=np.uint8).reshape(2, 3), [0, 1], "labels")


@pytest.mark.parametrize(
    "claim",
    [b"r\xff\xff\xff\x7f", b"B\xff\xff\xff\xff", b"\x8e" + b"\xff" * 5 + bytes(3),
     b"\x96" + b"\xff" * 4 + bytes(4)],
    ids=["memo index", "bytes", "long bytes", "byte array"],
)  # fmt: skip
def test_a_claimed_length_allocates_nothing(claim):
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="not a readable pickle"):
            decode_batch(b"\x80\x05]" + claim, "batch", width=3, classes=2)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@given(cut=st.integers(0, len(GOOD) - 1))
@settings(deadline=None)
def test_a_truncated_pickle_is_refused(cut):
    with pytest.raises(UserError):
        decode_batch(GOOD[:cut], "batch", width=3, classes=2)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_damaged_pickle_is_read_or_refused_and_nothing_else(data):
    content = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(GOOD) - 1))] = data.draw(st.integers(0, 255))
    try:
        pixels, labels = decode_batch(bytes(content), "batch", width=3, classes=2)
    except UserError:
        return
    assert pixels.shape == (len(labels), 3)


# Cache and download


def test_a_download_is_kept_for_the_next_time(tiny):
    card, archive, _ = tiny
    first, *files = card.files
    with serve({first.name: archive}) as address:
        card = replace(card, files=(replace(first, url=address + first.name), *files))
        assert len(CifarSource(card).load_train()) == 20
    assert everything_in(cache_folder("data")) == [first.name]
    assert len(CifarSource(card).load_test()) == 4


@pytest.mark.parametrize("served", [b"<html>", None], ids=["another file", "404"])
def test_a_failed_download_leaves_nothing(tiny, served):
    card, _, _ = tiny
    first, *files = card.files
    with serve({} if served is None else {first.name: served}) as address:
        card = replace(card, files=(replace(first, url=address + first.name), *files))
        with pytest.raises(UserError, match=r"cifar10 could not be downloaded.*--root"):
            CifarSource(card).load_train()
    assert list(cache_folder("data").iterdir()) == []


def test_no_network_is_told_with_the_remedy(tiny):
    card, _, _ = tiny
    first, *files = card.files
    url = f"http://127.0.0.1:{free_port()}/{first.name}"
    card = replace(card, files=(replace(first, url=url), *files))
    with pytest.raises(UserError, match=r"cifar10 could not be downloaded.*refused.*--root"):
        CifarSource(card).load_train()
    assert list(cache_folder("data").iterdir()) == []


# The published data, where this machine has them


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_the_published_files(name):
    card = CARDS[name]
    root = Path(os.environ.get("RESLAB_DATA", "-"))
    if not any((root / place).exists() for place in (card.files[0].name, card.folder)):
        pytest.skip(f"RESLAB_DATA names no folder with {card.files[0].name}")
    source = CifarSource(card, root)
    train, test = source.load_train(), source.load_test()
    assert train.pixels_NCHW.shape == (50_000, 3, 32, 32)
    assert test.pixels_NCHW.shape == (10_000, 3, 32, 32)
    classes = len(card.classes)
    assert np.bincount(train.labels_N).tolist() == [50_000 // classes] * classes
    assert np.bincount(test.labels_N).tolist() == [10_000 // classes] * classes
