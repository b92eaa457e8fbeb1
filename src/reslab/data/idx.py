"""MNIST and its kin in the IDX format, plain or gzipped.

The format (LeCun's page of MNIST): two zero bytes, a type code (8 is unsigned byte), the number
of dimensions, each dimension as a big-endian 32-bit number, then the values, last dimension
fastest. A file is believed only as far as the card goes: its header may not ask for more images
than were published, and nothing is inflated beyond what the header announces.
"""

from __future__ import annotations

import gzip
import io
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from reslab.catalog.datasets import DataCard
from reslab.data.cache import download_staging
from reslab.data.source import Images
from reslab.errors import UserError
from reslab.folders import cache_folder

_UNSIGNED_BYTE = 0x08
_GZIP_MAGIC = b"\x1f\x8b"
_RENEW = "delete the file and fetch the published one again"

# Where a distribution's own package puts the published files (Debian: dataset-fashion-mnist).
_PACKAGED = {"fashion-mnist": Path("/usr/share/datasets/fashion-mnist")}


@dataclass(frozen=True)
class IdxSource:
    """A data set in four IDX files: images and labels, for training and for testing.

    With ``root`` the files are looked for in ``<root>/<card.folder>/raw`` (torchvision's
    layout), ``<root>/raw`` and ``<root>``; nothing is ever written there. Without it they are
    looked for in the cache, then where the system's packages put them, and then downloaded into
    the cache.

    Attributes:
        card: the card of the data set; its counts are the most that a file may hold, not the
            least, so that a cut-down copy can be read.
        root: the folder that the user named.
    """

    card: DataCard
    root: Path | None = None

    def load_train(self) -> Images:
        """Read the training split.

        Returns:
            ``pixels_NCHW`` of (images, 1, ``card.image_size``, ``card.image_size``).

        Raises:
            UserError: where the files are missing, damaged or do not fit the card.
        """
        return self._load("train", self.card.train_images)

    def load_test(self) -> Images:
        """Read the test split, as ``load_train`` does the training split."""
        return self._load("t10k", self.card.test_images)

    def _load(self, split: str, most: int) -> Images:
        images_path, labels_path = self._locate(split)
        # Labels first: they are small, and their count tells what the images must hold.
        labels_N = read_idx(labels_path, (), most)
        pixels_NHW = read_idx(images_path, (self.card.image_size,) * 2, most)
        if len(pixels_NHW) != len(labels_N):
            raise UserError(
                f"{images_path} and {labels_path.name} do not belong together",
                expected="one label for each image",
                received=f"{len(pixels_NHW)} images and {len(labels_N)} labels",
                remedy=_RENEW,
            )
        classes = len(self.card.classes)
        if labels_N.max() >= classes:
            first = int(np.argmax(labels_N >= classes))
            raise UserError(
                f"{labels_path} holds a label that {self.card.name} does not have",
                expected=f"0 to {classes - 1}",
                received=f"{labels_N[first]} for image {first}",
                remedy="give the files of this data set, or name the right one",
            )
        return Images(pixels_NHW[:, None], labels_N.astype(np.int64))

    def _locate(self, split: str) -> tuple[Path, Path]:
        """The files of a split, images and labels, downloaded if that is what it takes."""
        cached = cache_folder("data") / self.card.folder / "raw"
        if self.root is not None:
            places = [self.root / self.card.folder / "raw", self.root / "raw", self.root]
        else:
            places = [cached]
            if self.card.name in _PACKAGED:
                places.append(_PACKAGED[self.card.name])
        names = (f"{split}-images-idx3-ubyte", f"{split}-labels-idx1-ubyte")
        for place in places:
            if (found := _find_pair(place, names)) is not None:
                return found
        if self.root is None:
            _download(self.card, cached)
            if (found := _find_pair(cached, names)) is not None:
                return found
        raise UserError(
            f"the {self.card.name} files {names[0]} and {names[1]} (or the same with .gz) are "
            f"in none of {', '.join(str(place) for place in places)}",
            remedy="give the folder that holds them with --root, "
            "or leave --root out to have them downloaded",
        )


def _find_pair(place: Path, names: tuple[str, str]) -> tuple[Path, Path] | None:
    """The two files in ``place``, each plain or else gzipped, or None if either is missing."""

    def find(name: str) -> Path | None:
        candidates = (place / name, place / f"{name}.gz")
        return next((path for path in candidates if path.is_file()), None)

    images, labels = find(names[0]), find(names[1])
    return (images, labels) if images and labels else None


def read_idx(path: Path, item_shape: tuple[int, ...], most: int) -> npt.NDArray[np.uint8]:
    """Read one IDX file of unsigned bytes, whole or not at all.

    Whether it is gzipped is seen from its content, since browsers unpack files but keep their
    names.

    Args:
        path: the file.
        item_shape: shape of one item: ``()`` for labels, (rows, columns) for images.
        most: the most items that it may hold, which bounds the memory taken.

    Returns:
        The items, in shape (items, *item_shape).

    Raises:
        UserError: where the file is of another format or shape, truncated, longer than its
            header says, damaged or unreadable.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(2) == _GZIP_MAGIC
            file.seek(0)
            stream: io.BufferedIOBase = gzip.GzipFile(fileobj=file) if packed else file
            return _read_stream(stream, path, item_shape, most)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(
            f"{path} cannot be read",
            expected="a whole IDX file, plain or gzipped",
            received=_one_line(error),
            remedy=_RENEW,
        ) from error


def _read_stream(
    stream: io.BufferedIOBase, path: Path, item_shape: tuple[int, ...], most: int
) -> npt.NDArray[np.uint8]:
    dimensions = 1 + len(item_shape)
    header = stream.read(4 + 4 * dimensions)
    magic = bytes((0, 0, _UNSIGNED_BYTE, dimensions))
    if header[:4] != magic:
        raise UserError(
            f"{path} is not an IDX file of {'images' if item_shape else 'labels'}",
            expected=f"the first bytes {magic.hex(' ')}",
            received=header[:4].hex(" ") or "an empty file",
            remedy=_RENEW,
        )
    if len(header) < 4 + 4 * dimensions:
        raise UserError(
            f"{path} ends within its header",
            expected=f"{4 + 4 * dimensions} bytes of header",
            received=f"{len(header)} bytes",
            remedy=_RENEW,
        )
    count, *shape = struct.unpack(f">{dimensions}I", header[4:])
    if tuple(shape) != item_shape:
        raise UserError(
            f"{path} holds images of another size",
            expected=" x ".join(map(str, item_shape)) + " pixels",
            received=" x ".join(map(str, shape)),
            remedy="give the files of this data set, or name the right one",
        )
    if not 1 <= count <= most:
        raise UserError(
            f"{path} announces an impossible number of items",
            expected=f"1 to {most}",
            received=str(count),
            remedy=_RENEW,
        )
    size = count * math.prod(item_shape)
    # One byte more than announced tells trailing bytes, and reaching the end makes gzip
    # compare its check sum.
    values = stream.read(size + 1)
    if len(values) != size:
        raise UserError(
            f"{path} {'ends early' if len(values) < size else 'goes on after its last item'}",
            expected=f"{size} bytes after the header",
            received=str(len(values)) if len(values) < size else "more",
            remedy=_RENEW,
        )
    # Copied because an array over bytes is read-only, which torch.from_numpy warns of.
    return np.frombuffer(values, np.uint8).reshape(count, *item_shape).copy()


def _download(card: DataCard, target: Path) -> None:
    """Fetch the card's files through torchvision, which knows the mirrors, into ``target``."""
    # Imported here because torchvision takes seconds that only a download needs to spend.
    from torchvision import datasets  # noqa: PLC0415

    fetchers = {"MNIST": datasets.MNIST, "FashionMNIST": datasets.FashionMNIST}
    if card.folder not in fetchers:
        raise UserError(
            f"{card.name} has no known download",
            remedy="give the folder that holds its files with --root",
        )
    with download_staging(card) as staging:
        fetchers[card.folder](staging, train=False, download=True)
        target.mkdir(parents=True, exist_ok=True)
        for file in card.files:
            # Only the packed files are kept: the same content in a third of the space.
            (staging / card.folder / "raw" / file.name).replace(target / file.name)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
