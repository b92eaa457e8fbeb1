"""CIFAR-10 and CIFAR-100 in the form for Python that their author publishes.

An archive holds a folder of pickled dicts: ``data`` is uint8 of (images, 3072), each row the
red, then the green, then the blue plane of 32x32 pixels, and ``labels`` (``fine_labels`` in
CIFAR-100) is a list of numbers. See https://www.cs.toronto.edu/~kriz/cifar.html.

A pickle can run any code when it is loaded. Two things stand before that: the published MD5 sum
of each file, and an unpickler that knows nothing but stand-ins for what arrays are made of, so
that what a file asks to be built is written down and examined, never called.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import struct
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import numpy as np
import numpy.typing as npt

from reslab.catalog.datasets import DataCard, DataFile
from reslab.data.cache import download_staging
from reslab.data.source import Images
from reslab.errors import UserError
from reslab.folders import cache_folder

_RENEW = "delete it and fetch the published one again"
_NOT_GENUINE = "do not use the file; fetch the published one"


@dataclass(frozen=True)
class CifarSource:
    """CIFAR-10 or CIFAR-100, read from its archive or from the folder extracted from it.

    With ``root`` it is, in this order, the archive itself, a folder that holds the archive, one
    that holds the extracted folder, or the extracted folder; nothing is ever written there.
    Without it the archive is taken from the cache, into which it is downloaded if need be.

    Attributes:
        card: the card of the data set, its archive the first of its files.
        root: the folder or archive that the user named.
    """

    card: DataCard
    root: Path | None = None

    def load_train(self) -> Images:
        """Read the training split.

        Returns:
            ``pixels_NCHW`` of (50000, 3, 32, 32) and the labels, in the order of the files.

        Raises:
            UserError: where the files are missing, or are not the published ones.
        """
        files = [file for file in self.card.files[1:] if not file.name.startswith("test")]
        return self._load(files, self.card.train_images)

    def load_test(self) -> Images:
        """Read the test split as ``load_train`` does: (10000, 3, 32, 32) and the labels."""
        files = [file for file in self.card.files[1:] if file.name.startswith("test")]
        return self._load(files, self.card.test_images)

    def _load(self, files: list[DataFile], images: int) -> Images:
        place = self._locate(files)
        side, channels = self.card.image_size, self.card.channels
        width = side * side * channels
        # A published file has each image's pixels, its label and its name of some 30 bytes.
        most = (width + 1024) * -(-images // len(files)) + 2**16
        opened = (
            _read_archive(place, self.card, files, most)
            if place.is_file()
            else _read_folder(place, files, most)
        )
        parts = {
            name: decode_batch(content, where, width=width, classes=len(self.card.classes))
            for name, where, content in opened
        }
        pixels = np.concatenate([parts[file.name][0] for file in files])
        labels_N = np.concatenate([parts[file.name][1] for file in files])
        return Images(pixels.reshape(-1, channels, side, side), labels_N)

    def _locate(self, files: list[DataFile]) -> Path:
        """The archive, or the folder of all of ``files``."""
        archive = self.card.files[0]
        if self.root is None:
            cached = cache_folder("data") / archive.name
            if not cached.is_file():
                _download(self.card, cached)
            return cached
        for path in (self.root, self.root / archive.name):
            if path.is_file():
                return path
        for folder in (self.root / self.card.folder, self.root):
            if all((folder / file.name).is_file() for file in files):
                return folder
        raise UserError(
            f"{self.root} holds neither {archive.name} nor all of "
            f"{', '.join(file.name for file in files)} in {self.card.folder}",
            remedy="give the folder that holds them with --root, "
            "or leave --root out to have them downloaded",
        )


def _download(card: DataCard, target: Path) -> None:
    """Fetch the card's archive, its MD5 sum checked, and only then give it its name."""
    # Imported here because torchvision takes seconds that only a download needs to spend.
    from torchvision.datasets.utils import download_url  # noqa: PLC0415

    archive = card.files[0]
    with download_staging(card) as staging:
        download_url(archive.url, staging, archive.name, archive.md5)
        (staging / archive.name).replace(target)


def _read_archive(
    path: Path, card: DataCard, files: list[DataFile], most: int
) -> Iterator[tuple[str, str, bytes]]:
    """Yield name, place and content of each of ``files``, nothing being extracted to disk."""
    wanted = {f"{card.folder}/{file.name}": file for file in files}
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False))
            _check_md5(str(path), card.files[0].md5, digest.hexdigest())
            stream.seek(0)
            with tarfile.open(fileobj=stream, mode="r:gz") as archive:
                for member in archive:
                    if not member.isreg() or (file := wanted.get(member.name)) is None:
                        continue
                    unpacked = cast("IO[bytes]", archive.extractfile(member))
                    where = f"{path}:{member.name}"
                    yield file.name, where, _read_genuine(unpacked, where, file, most)
                    del wanted[member.name]
                    if not wanted:
                        return
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise UserError(
            f"{path} cannot be read",
            expected=f"the archive {card.files[0].name}",
            received=str(error) or type(error).__name__,
            remedy=_RENEW,
        ) from error
    raise UserError(f"{path} lacks {', '.join(wanted)}", remedy=_RENEW)


def _read_folder(
    folder: Path, files: list[DataFile], most: int
) -> Iterator[tuple[str, str, bytes]]:
    """Yield name, place and content of each of ``files``."""
    for file in files:
        path = folder / file.name
        try:
            with path.open("rb") as stream:
                content = _read_genuine(stream, str(path), file, most)
        except OSError as error:
            raise UserError(f"{path} cannot be read", received=str(error)) from error
        yield file.name, str(path), content


def _read_genuine(stream: IO[bytes], where: str, file: DataFile, most: int) -> bytes:
    """The content of a file that is not larger than ``most`` bytes and has its MD5 sum."""
    content = stream.read(most + 1)
    if len(content) > most:
        raise UserError(f"{where} is too large: above {most} bytes", remedy=_RENEW)
    _check_md5(where, file.md5, hashlib.md5(content, usedforsecurity=False).hexdigest())
    return content


def _check_md5(where: str, expected: str, received: str) -> None:
    if received != expected:
        raise UserError(
            f"{where} is not what was published",
            expected=f"MD5 {expected}",
            received=f"MD5 {received}",
            remedy=_RENEW,
        )


class _Array:
    """Stands for a numpy array and its maker: numpy's own would trust a stranger's state."""

    state: object = None

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        self.state = state


class _DType:
    """Stands for a numpy type."""

    def __init__(self, code: object = None, *_: object) -> None:
        self.code = code

    def __setstate__(self, state: object) -> None:
        pass


class _Bytes(bytes):
    """Stands for ``_codecs.encode``, by which Python 3 writes bytes for older readers."""

    def __new__(cls, text: str, *_: object) -> _Bytes:
        return super().__new__(cls, text, "latin1")

    def __setstate__(self, state: object) -> None:
        pass


_STAND_INS: dict[tuple[str, str], type] = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _Bytes,
}


class _Reader(pickle._Unpickler):
    # The unpickler written in Python and not the one in C, which allocates whatever memory a
    # damaged length or memo index claims. This opcode alone would do the same here.
    dispatch = {k: v for k, v in pickle._Unpickler.dispatch.items() if k != 0x96}  # noqa: RUF012

    def __init__(self, content: bytes, where: str) -> None:
        # The files were written by Python 2, whose strings are bytes.
        super().__init__(io.BytesIO(content), encoding="bytes")
        self._where = where

    def find_class(self, module: str, name: str, /) -> type:
        if (module, name) not in _STAND_INS:
            raise UserError(
                f"{self._where} asks for {module}.{name}, which images do not need, "
                "and was not loaded",
                remedy=_NOT_GENUINE,
            )
        return _STAND_INS[module, name]


def decode_batch(
    content: bytes, where: str, *, width: int, classes: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Read the pickled dict of one file without running anything that it asks for.

    Args:
        content: the file's bytes.
        where: the file's name, for the error's text.
        width: bytes of one image (channels x rows x columns).
        classes: the number of classes.

    Returns:
        Pixels of (images, width) and labels of (images,).

    Raises:
        UserError: where the content is not such a dict, or refers to any class or function.
    """
    try:
        batch = _Reader(content, where).load()
    except UserError:
        raise
    except (
        pickle.UnpicklingError, struct.error, ArithmeticError, AssertionError, AttributeError,
        EOFError, LookupError, MemoryError, RecursionError, TypeError, ValueError,
    ) as error:  # fmt: skip  # whatever a damaged pickle can raise
        raise UserError(
            f"{where} is not a readable pickle", received=str(error), remedy=_RENEW
        ) from error

    fields = batch if isinstance(batch, dict) else {}
    match fields.get(b"data"):
        case _Array(
            state=(_, (int(count), int(row)), _DType(code=b"u1" | "u1"), fortran, bytes(raw))
        ) if row == width and count > 0 and len(raw) == count * row:
            flat = np.frombuffer(raw, np.uint8)
            pixels = flat.reshape(row, count).T if fortran else flat.reshape(count, row)
        case _:
            raise UserError(
                f"{where} does not hold images",
                expected=f"data as uint8 of (images, {width})",
                remedy=_NOT_GENUINE,
            )
    labels = fields.get(b"fine_labels", fields.get(b"labels"))
    if (
        not isinstance(labels, list)
        or len(labels) != count
        or not all(type(label) is int and 0 <= label < classes for label in labels)
    ):
        raise UserError(
            f"{where} does not hold the labels of its images",
            expected=f"a list of {count} numbers from 0 to {classes - 1}",
            remedy=_NOT_GENUINE,
        )
    return pixels, np.array(labels, np.int64)
