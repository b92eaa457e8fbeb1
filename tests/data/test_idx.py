import gzip
import hashlib
import os
import socket
import struct
import threading
import tracemalloc
import zlib
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets
from hypothesis import given, settings
from hypothesis import strategies as st

from reslab.catalog.datasets import DATASETS
from reslab.data import cache, idx
from reslab.data.idx import IdxSource, read_idx
from reslab.errors import UserError
from reslab.folders import cache_folder

CARDS = {card.name: card for card in DATASETS}
TINY = replace(CARDS["mnist"], image_size=4, train_images=20, test_images=10)
NAMES = [file.name.removesuffix(".gz") for file in TINY.files]


@contextmanager
def serve(files: dict[str, bytes]):
    """A web server on the loopback interface; yields its address, ending in a slash."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = files.get(self.path.lstrip("/"))
            self.send_response(404 if body is None else 200)
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def encode(array) -> bytes:
    array = np.asarray(array, np.uint8)
    magic = bytes((0, 0, 8, array.ndim))
    return magic + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def tiny_files(train: int = 20, test: int = 10) -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    arrays = [
        array
        for count in (train, test)
        for array in (rng.integers(0, 256, (count, 4, 4)), np.arange(count) % 10)
    ]
    return {name: encode(array) for name, array in zip(NAMES, arrays, strict=True)}


def write(folder: Path, files: dict[str, bytes], packed: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """An empty cache, and no packages of the system's, for every test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(idx, "_PACKAGED", {})


# Reading


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("below", ["MNIST/raw", "raw", "."])
def test_every_layout_below_a_root_is_read(tmp_path, below, packed):
    write(tmp_path / "root" / below, tiny_files(), packed)
    source = IdxSource(TINY, tmp_path / "root")
    train, test = source.load_train(), source.load_test()
    assert train.pixels_NCHW.shape == (20, 1, 4, 4)
    assert train.pixels_NCHW.tobytes() == tiny_files()[NAMES[0]][16:]
    assert test.labels_N.tolist() == list(range(10))
    assert train.pixels_NCHW.flags.writeable


def test_torchvisions_layout_goes_before_the_others(tmp_path):
    write(tmp_path / "MNIST/raw", tiny_files(train=7))
    write(tmp_path, tiny_files())
    assert len(IdxSource(TINY, tmp_path).load_train()) == 7


def test_an_unpacked_file_that_kept_its_name_is_read(tmp_path):
    write(tmp_path, {f"{name}.gz": content for name, content in tiny_files().items()})
    assert len(IdxSource(TINY, tmp_path).load_train()) == 20


@given(
    items=st.integers(1, 6),
    side=st.integers(1, 5),
    labels=st.booleans(),
    packed=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=40, deadline=None)
def test_what_was_written_is_read(tmp_path_factory, items, side, labels, packed, seed):
    shape = () if labels else (side, side)
    array = np.random.default_rng(seed).integers(0, 256, (items, *shape)).astype(np.uint8)
    path = tmp_path_factory.mktemp("idx") / "file"
    path.write_bytes(gzip.compress(encode(array)) if packed else encode(array))
    assert np.array_equal(read_idx(path, shape, 6), array)


def test_a_cut_down_copy_is_read(tmp_path):
    write(tmp_path, tiny_files(train=3, test=2))
    assert len(IdxSource(TINY, tmp_path).load_train()) == 3


# What is refused


def damaged(change) -> bytes:
    return change(tiny_files()[NAMES[0]])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "an empty file"),
        (damaged(lambda c: c[:10]), "received 10 bytes"),
        (damaged(lambda c: c[:-1]), "ends early: expected 320 bytes.*received 319"),
        (damaged(lambda c: c + b"\0"), "goes on after its last item"),
        (damaged(lambda c: b"\0\0\x08\x01" + c[4:]), "00 00 08 03, received 00 00 08 01"),
        (damaged(lambda c: b"\0\0\x0d\x03" + c[4:]), "received 00 00 0d 03"),
        (b"\x89PNG\r\n\x1a\n" + bytes(99), "received 89 50 4e 47"),
        (encode(np.zeros((20, 4, 5))), "4 x 4 pixels, received 4 x 5"),
        (encode(np.zeros((20, 5, 5))), "4 x 4 pixels, received 5 x 5"),
        (encode(np.zeros((0, 4, 4))), "1 to 20, received 0"),
        (encode(np.zeros((21, 4, 4))), "1 to 20, received 21"),
        (encode(np.zeros((19, 4, 4))), "19 images and 20 labels"),
    ],
)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
def test_a_damaged_file_is_named_with_what_was_expected(tmp_path, content, told, packed):
    write(tmp_path, {**tiny_files(), NAMES[0]: content}, packed)
    with pytest.raises(UserError, match=told) as caught:
        IdxSource(TINY, tmp_path).load_train()
    text = str(caught.value)
    assert "train-images-idx3-ubyte" in text
    assert "; " in text
    assert "\n" not in text


def test_a_label_without_a_class_is_named(tmp_path):
    labels = encode([0, 1, 10] + [0] * 17)
    write(tmp_path, {**tiny_files(), NAMES[1]: labels})
    with pytest.raises(UserError, match="0 to 9, received 10 for image 2"):
        IdxSource(TINY, tmp_path).load_train()


@pytest.mark.parametrize("cut", [1, 5, 11, 40, -9, -4, -1])
def test_a_truncated_gzip_is_refused(tmp_path, cut):
    write(tmp_path, tiny_files(), packed=True)
    path = tmp_path / f"{NAMES[0]}.gz"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte.gz"):
        IdxSource(TINY, tmp_path).load_train()


@given(bit=st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_a_flipped_bit_in_a_gzip_is_refused_or_harmless(tmp_path_factory, bit):
    content = tiny_files()[NAMES[0]]
    packed = bytearray(gzip.compress(content))
    packed[bit // 8 % len(packed)] ^= 1 << bit % 8
    path = tmp_path_factory.mktemp("idx") / "file.gz"
    path.write_bytes(packed)
    try:
        array = read_idx(path, (4, 4), 20)
    except UserError:
        return
    assert array.tobytes() == content[16:]  # the time stamp, for instance, is not data


def test_a_bomb_is_not_inflated(tmp_path):
    bomb = zlib.compressobj(wbits=31)
    packed = bomb.compress(encode(np.zeros((20, 4, 4))))
    packed += b"".join(bomb.compress(bytes(2**20)) for _ in range(64)) + bomb.flush()
    path = tmp_path / "bomb.gz"
    path.write_bytes(packed)
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="goes on after its last item"):
            read_idx(path, (4, 4), 20)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_header_that_promises_the_moon_allocates_nothing(tmp_path):
    path = tmp_path / "moon"
    path.write_bytes(bytes((0, 0, 8, 3)) + struct.pack(">3I", 2**32 - 1, 4, 4))
    with pytest.raises(UserError, match="1 to 20, received 4294967295"):
        read_idx(path, (4, 4), 20)


def test_a_root_without_the_files_names_the_places_and_downloads_nothing(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    with pytest.raises(UserError, match="--root") as caught:
        IdxSource(TINY, root).load_train()
    for place in (root / "MNIST" / "raw", root / "raw", root):
        assert f"{place}" in str(caught.value)
    assert list(root.iterdir()) == []
    assert not cache_folder("data").exists()


def test_images_without_labels_are_not_a_data_set(tmp_path):
    files = tiny_files()
    write(tmp_path, {NAMES[0]: files[NAMES[0]]})
    with pytest.raises(UserError, match="in none of"):
        IdxSource(TINY, tmp_path).load_train()


# Cache and download


def test_the_cache_follows_the_xdg_specification(tmp_path, monkeypatch):
    assert cache_folder("data") == tmp_path / "cache" / "reslab" / "data"
    for ignored in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert cache_folder("data") == Path.home() / ".cache" / "reslab" / "data"


def test_the_systems_package_is_used_without_a_root(tmp_path, monkeypatch):
    place = write(tmp_path / "packaged", tiny_files(), packed=True)
    monkeypatch.setattr(idx, "_PACKAGED", {"mnist": place})
    assert len(IdxSource(TINY).load_train()) == 20
    write(cache_folder("data") / "MNIST/raw", tiny_files(train=5))
    assert len(IdxSource(TINY).load_train()) == 5


def publish(monkeypatch, address: str, served: dict[str, bytes]) -> None:
    twin = torchvision.datasets.MNIST
    sums = [(name, hashlib.md5(content).hexdigest()) for name, content in served.items()]
    monkeypatch.setattr(twin, "mirrors", [address])
    monkeypatch.setattr(twin, "resources", sums)


def packed_files() -> dict[str, bytes]:
    return {f"{name}.gz": gzip.compress(content) for name, content in tiny_files().items()}


def everything_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_download_is_kept_for_the_next_time(monkeypatch):
    files = packed_files()
    with serve(files) as address:
        publish(monkeypatch, address, files)
        assert len(IdxSource(TINY).load_train()) == 20
    assert everything_in(cache_folder("data")) == sorted(files)
    # The server is gone: this comes from the cache.
    assert len(IdxSource(TINY).load_test()) == 10


def test_a_download_with_another_sum_leaves_nothing(monkeypatch):
    files = packed_files()
    bad = {**files, f"{NAMES[3]}.gz": files[f"{NAMES[3]}.gz"][:-1]}
    with serve(bad) as address:
        publish(monkeypatch, address, files)
        with pytest.raises(UserError, match=r"could not be downloaded.*--root") as caught:
            IdxSource(TINY).load_train()
    assert "\n" not in str(caught.value)
    assert everything_in(cache_folder("data")) == []
    with serve(files) as address:
        publish(monkeypatch, address, files)
        assert len(IdxSource(TINY).load_train()) == 20


def test_no_network_is_told_with_the_remedy(monkeypatch):
    before = socket.getdefaulttimeout()
    publish(monkeypatch, f"http://127.0.0.1:{free_port()}/", packed_files())
    with pytest.raises(UserError, match=r"mnist could not be downloaded.*refused.*--root"):
        IdxSource(TINY).load_train()
    assert everything_in(cache_folder("data")) == []
    assert list(cache_folder("data").iterdir()) == []
    assert socket.getdefaulttimeout() == before


def test_a_silent_server_is_given_up(monkeypatch):
    monkeypatch.setattr(cache, "_SILENCE_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        publish(monkeypatch, f"http://127.0.0.1:{mute.getsockname()[1]}/", packed_files())
        with pytest.raises(UserError, match="timed out"):
            IdxSource(TINY).load_train()


def test_a_cache_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match="could not be downloaded"):
        IdxSource(TINY).load_train()


def test_a_card_of_ones_own_has_no_download():
    with pytest.raises(UserError, match="no known download"):
        IdxSource(replace(TINY, name="mine", folder="Mine")).load_train()


# The published data, where this machine has them

TRAIN_COUNTS = {
    "mnist": [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    "fashion-mnist": [6000] * 10,
}
TEST_COUNTS = {
    "mnist": [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
    "fashion-mnist": [1000] * 10,
}


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_the_published_files(name):
    card = CARDS[name]
    root = Path(os.environ.get("RESLAB_DATA", "-"))
    if not (root / card.folder).is_dir():
        pytest.skip(f"RESLAB_DATA names no folder with {card.folder}")
    source = IdxSource(card, root)
    train, test = source.load_train(), source.load_test()
    assert train.pixels_NCHW.shape == (60_000, 1, 28, 28)
    assert test.pixels_NCHW.shape == (10_000, 1, 28, 28)
    assert np.bincount(train.labels_N).tolist() == TRAIN_COUNTS[name]
    assert np.bincount(test.labels_N).tolist() == TEST_COUNTS[name]
    assert (train.pixels_NCHW.min(), train.pixels_NCHW.max()) == (0, 255)
    if name == "mnist":  # the mean that everyone's normalisation uses
        assert train.pixels_NCHW.mean() / 255 == pytest.approx(0.1307, abs=5e-5)
