"""Hugging Face ``datasets`` as a source of pictures: saved ones, local files, and those of the hub.

They need reslab[hf]; what lies on the hub is downloaded by that library, into its own cache.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from reslab.catalog.datasets import HUB
from reslab.data.pictures.layout import SPLIT_FOLDERS
from reslab.data.pictures.listing import Listed, Listing
from reslab.data.pictures.shards import in_order
from reslab.errors import UserError

# What the column of the classes is called where a data set does not say which it is.
_LABELS = ("label", "labels", "fine_label", "class")


@dataclass(frozen=True)
class Rows:
    """The pictures of a data set; see ``reslab.data.pictures.stores.Store``.

    Attributes:
        origin: what names it.
        tables: its splits, each with a column of encoded pictures.
        column: of the pictures.
    """

    origin: str
    tables: Mapping[str, Any] = field(repr=False)
    column: str
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def stamp(self, name: str) -> tuple[int, int]:
        """Twice what tells this state of the split from all others."""
        split, _, row = name.partition("/")
        if split not in self.tables or not int(row) < len(self.tables[split]):
            raise FileNotFoundError(2, "No such file or directory", name)
        told = zlib.crc32(str(self.tables[split]._fingerprint).encode())
        return told, told

    def read(self, name: str) -> bytes:
        """The picture's file.

        Raises:
            OSError: where it lies in a file of its own that cannot be read.
        """
        split, _, row = name.partition("/")
        with self._lock:
            found = self.tables[split][int(row)][self.column]
        if found is None:
            raise FileNotFoundError(2, "No picture in that row", name)
        content: bytes | None = found["bytes"]
        return content if content is not None else Path(found["path"]).read_bytes()

    def open(self, name: str) -> BinaryIO:
        """The picture's file, read whole."""
        return BytesIO(self.read(name))

    def place(self, name: str) -> str:
        """The data set and the row."""
        return f"{self.origin}: {name}"


def list_rows(name: str) -> Listing:
    """The pictures of a data set.

    Args:
        name: a folder that ``save_to_disk`` wrote, a folder of files that ``load_dataset`` reads,
            or a name on the hub, maybe with ``:`` and a configuration.

    Raises:
        UserError: where it cannot be loaded, or has no column of pictures or of classes.
    """
    tables = _load(name)
    first = next(iter(tables.values()))
    column, label = _columns(name, first.features)
    names = getattr(first.features[label], "names", None)
    files: list[Listed] = []
    for split, table in tables.items():
        kind = SPLIT_FOLDERS.get(split.lower())
        told = table[label]
        files += [
            Listed(
                path=f"{split}/{row}",
                label=str(names[value]) if names else str(value),
                split=kind if len(tables) > 1 else None,
            )
            for row, value in enumerate(told)
            # -1 is what a test split without labels has.
            if value is not None and not (names and value < 0)
        ]
    if not files:
        raise UserError(f"{HUB}{name} has no pictures with classes", received="none")
    return Listing(
        store=Rows(f"{HUB}{name}", tables, column),
        files=tuple(files),
        origin=Path(f"{HUB}{name}"),
        order=tuple(names) if names else in_order({file.label for file in files}),
    )


def _load(name: str) -> dict[str, Any]:
    """Its splits, pictures not decoded."""
    try:
        import datasets  # noqa: PLC0415 - an extra, and slow to import
    except ImportError as error:
        raise UserError(
            f"{HUB}{name} needs the library datasets", remedy="pip install 'reslab[hf]'"
        ) from error
    place = Path(name).expanduser()
    try:
        if (place / "dataset_dict.json").exists() or (place / "state.json").exists():
            found = datasets.load_from_disk(str(place))
        elif place.exists():
            found = datasets.load_dataset(str(place))
        else:
            path, _, configuration = name.partition(":")
            found = datasets.load_dataset(path, configuration or None)
    except Exception as error:
        # It raises whatever its many file systems and formats raise.
        told = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{HUB}{name} could not be loaded",
            expected="a data set on the disk, or the name of one on the hub, and a network",
            received=told[:300],
        ) from error
    tables = dict(found) if isinstance(found, datasets.DatasetDict) else {"all": found}
    pictures = [
        column
        for column, feature in next(iter(tables.values())).features.items()
        if isinstance(feature, datasets.Image)
    ]
    for column in pictures:
        tables = {
            split: table.cast_column(column, datasets.Image(decode=False))
            for split, table in tables.items()
        }
    return tables


def _columns(name: str, features: Mapping[str, Any]) -> tuple[str, str]:
    """The columns of the pictures and of their classes."""
    pictures = [c for c, feature in features.items() if type(feature).__name__ == "Image"]
    classes = [c for c, feature in features.items() if hasattr(feature, "names")]
    if len(classes) != 1:
        classes = [c for c in _LABELS if c in features][:1]
    if len(pictures) != 1 or len(classes) != 1:
        raise UserError(
            f"{HUB}{name} has no column of pictures and one of their classes",
            expected="one Image, and one ClassLabel or one called " + ", ".join(_LABELS),
            received=", ".join(f"{c} ({type(f).__name__})" for c, f in features.items()),
            remedy="select or rename its columns, save it with save_to_disk, and name that folder",
        )
    return pictures[0], classes[0]
