"""Mistakes in every path argument: missing, of the wrong kind, unwritable, empty, damaged."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import shutil
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import reslab
from reslab.evaluation.selective import Target
from reslab.workbench.calibrate import calibrate_run
from tests.contract.complaints import complaint

Capture = pytest.CaptureFixture[str]
Spoil = Callable[[Path], None]


def idx(array: np.ndarray) -> bytes:
    """An array in the IDX format, gzipped."""
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return gzip.compress(header + array.astype(np.uint8).tobytes())


def write_mnist(root: Path) -> Path:
    """A whole, small data set in torchvision's layout; its training images' path."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for split, n in (("train", 60), ("t10k", 20)):
        (raw / f"{split}-images-idx3-ubyte.gz").write_bytes(idx(np.zeros((n, 28, 28))))
        (raw / f"{split}-labels-idx1-ubyte.gz").write_bytes(idx(np.arange(n) % 10))
    return raw / "train-images-idx3-ubyte.gz"


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def garbage(path: Path) -> None:
    path.write_bytes(b"this is not what its name says\n" * 5)


def delete(path: Path) -> None:
    path.unlink()


def to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


# --- train ---------------------------------------------------------------------------------


def out_is_file(tmp: Path) -> Path:
    (tmp / "file").write_text("mine")
    return tmp / "file"


def out_holds_something(tmp: Path) -> Path:
    (tmp / "full").mkdir()
    (tmp / "full" / "mine.txt").write_text("mine")
    return tmp / "full"


def out_below_a_file(tmp: Path) -> Path:
    (tmp / "file").write_text("mine")
    return tmp / "file" / "run"


def out_not_permitted(tmp: Path) -> Path:
    return Path("/proc/reslab-run")


def out_has_a_null(tmp: Path) -> Path:
    return tmp / "a\0b"


@pytest.mark.parametrize(
    "make", [out_is_file, out_holds_something, out_below_a_file, out_not_permitted, out_has_a_null]
)
def test_out(capsys: Capture, tmp_path: Path, make: Callable[[Path], Path]) -> None:
    out = make(tmp_path)
    arguments = ("--epochs", "1", "--set", "data.limit=20", "--set", "data.validation=20")
    complaint(capsys, tmp_path, "train", "--out", out, *arguments)


CONFIGS = {
    "missing": None,
    "a folder": b"",
    "empty": b"",
    "not YAML": b"data: [1",
    "a list": b"- 1\n- 2\n",
    "a number": b"3",
    "binary": bytes(range(256)),
    "UTF-16": "data: {}".encode("utf-16"),
    "a key twice": b"seeds: {base: 1}\nseeds: {base: 2}\n",
    "Python inside": b"data: !!python/object/apply:os.system ['touch pwned']\n",
    "unknown section": b"trainig: {lr: 0.1}\n",
    "a newer format": b"format: 99\n",
    "a number as key": b"1: 2\n",
}


@pytest.mark.parametrize("case", CONFIGS)
def test_config(capsys: Capture, tmp_path: Path, case: str) -> None:
    path = tmp_path / "config.yaml"
    content = CONFIGS[case]
    if case == "a folder":
        path = tmp_path
    elif content is not None:
        path.write_bytes(content)
    complaint(capsys, tmp_path, "train", "--config", path, "--out", tmp_path / "out")


@pytest.mark.parametrize("data", ["mnist", "fashion-mnist", "cifar10", "cifar100"])
@pytest.mark.parametrize("kind", ["missing", "empty folder", "file"])
def test_root(capsys: Capture, tmp_path: Path, data: str, kind: str) -> None:
    root = tmp_path / "root"
    if kind == "empty folder":
        root.mkdir()
    elif kind == "file":
        garbage(root)
    complaint(capsys, tmp_path, "train", "--data", data, "--root", root, "--out", tmp_path / "out")


def test_root_of_a_bundled_set(capsys: Capture, tmp_path: Path) -> None:
    complaint(capsys, tmp_path, "train", "--root", tmp_path, "--out", tmp_path / "out")


@pytest.mark.parametrize("spoil", [truncate, empty, garbage, delete, to_folder])
@pytest.mark.parametrize("part", ["images", "labels"])
def test_damaged_idx(capsys: Capture, tmp_path: Path, part: str, spoil: Spoil) -> None:
    images = write_mnist(tmp_path / "root")
    spoil(images.with_name(f"train-{part}-idx{3 if part == 'images' else 1}-ubyte.gz"))
    complaint(
        capsys,
        tmp_path,
        *("train", "--data", "mnist", "--root", tmp_path / "root", "--out", tmp_path / "out"),
    )


def hostile_archive() -> bytes:
    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (eval, ("open('pwned', 'w')",))

    content = pickle.dumps({b"data": Payload(), b"labels": []})
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        info = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


# Compressed bytes carry the second they were made in: without names of their own, two workers
# that collect a second apart would disagree about what the tests are called.
@pytest.mark.parametrize(
    "content",
    [b"", b"text", gzip.compress(b"text"), hostile_archive()],
    ids=["empty", "text", "gzip", "hostile"],
)
def test_damaged_archive(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "cifar-10-python.tar.gz").write_bytes(content)
    arguments = ("train", "--data", "cifar10", "--root", "root", "--out", "out")
    complaint(capsys, tmp_path, *arguments)


# --- commands that take a run --------------------------------------------------------------


@pytest.fixture
def own_run(trained: reslab.Run, tmp_path: Path) -> Path:
    """A copy of the trained run, to be spoiled."""
    return Path(shutil.copytree(trained.path, tmp_path / "run"))


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "seven.png"
    Image.new("L", (8, 8), 200).save(path)
    return path


@pytest.mark.parametrize("command", ["calibrate", "evaluate", "predict", "report"])
@pytest.mark.parametrize("kind", ["missing", "file", "empty folder"])
def test_no_run(capsys: Capture, tmp_path: Path, picture: Path, command: str, kind: str) -> None:
    run = tmp_path / "norun"
    if kind == "file":
        garbage(run)
    elif kind == "empty folder":
        run.mkdir()
    more = (picture,) if command == "predict" else ()
    complaint(capsys, tmp_path, command, run, *more)


@pytest.mark.parametrize("spoil", [truncate, empty, garbage, delete, to_folder])
@pytest.mark.parametrize(
    ("file", "command"),
    [
        ("run.yaml", "predict"),
        ("run.yaml", "report"),
        ("weights/best.safetensors", "predict"),
        ("metrics.json", "report"),
        ("mistakes.npz", "report"),
        ("history.csv", "report"),
        ("calibration.json", "report"),
        ("calibration.json", "predict"),
        ("calibration.json", "evaluate"),
    ],
)
def test_damaged_run(
    capsys: Capture,
    tmp_path: Path,
    own_run: Path,
    picture: Path,
    tiny_source: reslab.ArraySource,
    file: str,
    command: str,
    spoil: Spoil,
) -> None:
    if spoil is delete and file in ("metrics.json", "mistakes.npz", "calibration.json"):
        pytest.skip("a run without them has not ended or was not calibrated: no mistake")
    if file == "calibration.json":
        calibrate_run(reslab.load_run(own_run), Target("coverage", 0.5), data=tiny_source)
    spoil(own_run / file)
    more = (picture,) if command == "predict" else ()
    complaint(capsys, tmp_path, command, own_run, *more)


def test_weights_of_another_net(capsys: Capture, own_run: Path, picture: Path) -> None:
    text = (own_run / "run.yaml").read_text()
    (own_run / "run.yaml").write_text(text.replace("resnet14", "resnet20"))
    said = complaint(capsys, own_run.parent, "predict", own_run, picture)
    assert "another net" in said


def test_metrics_without_what_they_should_hold(capsys: Capture, own_run: Path) -> None:
    (own_run / "metrics.json").write_text(json.dumps({"test": {"best": {"n": 3}}}))
    complaint(capsys, own_run.parent, "report", own_run)


def test_run_of_a_newer_format(capsys: Capture, own_run: Path) -> None:
    text = (own_run / "run.yaml").read_text()
    (own_run / "run.yaml").write_text(text.replace("format: 2", "format: 3"))
    assert "format" in complaint(capsys, own_run.parent, "evaluate", own_run)


def test_evaluating_arrays_from_the_command_line(capsys: Capture, own_run: Path) -> None:
    complaint(capsys, own_run.parent, "evaluate", own_run)


def test_evaluating_on_other_classes(capsys: Capture, own_run: Path) -> None:
    complaint(capsys, own_run.parent, "evaluate", own_run, "--data", "digits")


@pytest.mark.parametrize("arguments", [("--split", "train"), ("--use", "worst"), ("--root",)])
def test_wrong_evaluate_options(capsys: Capture, own_run: Path, arguments: tuple[str, ...]) -> None:
    complaint(capsys, own_run.parent, "evaluate", own_run, *arguments)


def test_report_of_nothing(capsys: Capture, tmp_path: Path) -> None:
    complaint(capsys, tmp_path, "report")


# --- images --------------------------------------------------------------------------------


IMAGES: dict[str, Spoil] = {
    "text": garbage,
    "empty": empty,
    "truncated": truncate,
    "missing": delete,
    "an empty folder": to_folder,
    "cut in the header": lambda path: path.write_bytes(path.read_bytes()[:20]) and None,
}


@pytest.mark.parametrize("case", IMAGES)
def test_image(capsys: Capture, own_run: Path, picture: Path, case: str) -> None:
    IMAGES[case](picture)
    assert "seven.png" in complaint(capsys, picture.parent, "predict", own_run, picture)


def test_several_bad_images_are_each_told(capsys: Capture, own_run: Path, picture: Path) -> None:
    garbage(picture)
    other = picture.with_name("other.png")
    text = complaint(capsys, picture.parent, "predict", own_run, picture, other, "n" * 300)
    assert "3 images cannot be classified" in text
    assert "seven.png" in text
    assert "other.png" in text


def test_no_image(capsys: Capture, own_run: Path) -> None:
    complaint(capsys, own_run.parent, "predict", own_run)


@pytest.mark.parametrize("top", ["0", "-1", "many", "1.5"])
def test_top(capsys: Capture, own_run: Path, picture: Path, top: str) -> None:
    complaint(capsys, picture.parent, "predict", own_run, picture, "--top", top)


# --- the rest ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("models", "resnet19"),
        ("evaluate", "n" * 300),
        ("report", "n" * 300),
        ("runs", "n" * 300),
        ("runs", "nowhere"),
        ("data", "preview", "digits"),
        ("data", "preview", "digits", "--out", "x.jpg"),
        ("data", "preview", "digits", "--out", "nowhere/x.png"),
        ("data", "preview", "digist", "--out", "x.png"),
        ("data", "preview", "mnist", "--root", "nowhere", "--out", "x.png"),
        ("data", "preview", "digits", "--seed", "-1", "--out", "x.png"),
        ("data", "lits"),
        ("doctor", "--jsn"),
        ("evalute", "run"),
    ],
)
def test_other_commands(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    complaint(capsys, tmp_path, *arguments)
