"""Hugging Face ``datasets`` as a source of pictures: saved ones, local files, and those of the hub.

They need reslab[hf]; what lies on the hub is downloaded by that library, into its own cache.
"""

from __future__ import annotations

import logging
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from reslab.catalog.data_names import HUB
from reslab.data.pictures.layout import SPLIT_FOLDERS
from reslab.data.pictures.listing import Listed, Listing, in_order
from reslab.data.pictures.reading import read_file
from reslab.data.pictures.walk import PassedOver
from reslab.errors import UserError
from reslab.paths import find_place

_LOG = logging.getLogger(__name__)

# What the column of the classes is called where a data set does not say which it is.
_LABELS = ("label", "labels", "fine_label", "class")


@dataclass(frozen=True)
class Rows:
    """The pictures of a data set; see ``reslab.data.pictures.stores.Store``.

    Attributes:
        origin: what names it, a folder by its real path.
        tables: its splits, each with a column of encoded pictures.
        column: of the pictures.
        homes: folders that pictures with a file of their own may lie in: a data set of strangers
            could name any other.
    """

    origin: str
    tables: Mapping[str, Any] = field(repr=False)
    column: str
    homes: tuple[Path, ...]
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
            UserError: where that file is none of the data set's.
        """
        split, _, row = name.partition("/")
        with self._lock:
            found = self.tables[split][int(row)][self.column]
        if found is None:
            raise FileNotFoundError(2, "No picture in that row", name)
        content: bytes | None = found["bytes"]
        if content is not None:
            return content
        path = Path(found["path"]).resolve()
        if not any(path.is_relative_to(home) for home in self.homes):
            raise UserError(
                f"{self.place(name)} names a file outside of the data set",
                received=str(path),
                remedy="save it with its pictures in it",
            )
        return read_file(path)

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
    if not name:
        raise UserError(
            f"{HUB} names no data set", expected=f"a folder or a name, such as {HUB}ylecun/mnist"
        )
    place = find_place(name)
    tables = _load(name, place)
    column, label = _columns(name, tables)
    names = getattr(next(iter(tables.values())).features[label], "names", None)
    files: list[Listed] = []
    passed: list[PassedOver] = []
    for split, table in tables.items():
        kind = SPLIT_FOLDERS.get(split.lower())
        if kind is None and len(tables) > 1:
            # Such as pictures without classes of any use.
            passed.append(PassedOver(path=f"{split}/", reason="outside"))
            continue
        told = table[label]
        files += [
            Listed(
                path=f"{split}/{row}",
                label=str(names[value]) if names else str(value),
                split=kind,
            )
            for row, value in enumerate(told)
            # -1 is what a test split without labels has.
            if value is not None and not (names and value < 0)
        ]
        if not names and not all(isinstance(value, str | int | None) for value in told):
            raise _unclear(name, tables)
    if not files:
        raise UserError(f"{HUB}{name} has no pictures with classes", received="none")
    return Listing(
        store=Rows(
            str(name if place is None else place.resolve()),
            {split: table.select_columns([column]) for split, table in tables.items()},
            column,
            _homes(place),
        ),
        files=tuple(files),
        passed_over=tuple(passed),
        origin=Path(f"{HUB}{name}"),
        order=tuple(names) if names else in_order({file.label for file in files}),
    )


def _homes(place: Path | None) -> tuple[Path, ...]:
    """The folder of a data set, and those that the library downloads into."""
    import datasets  # noqa: PLC0415 - see ``_load``

    caches = (datasets.config.HF_DATASETS_CACHE, datasets.config.HF_CACHE_HOME)
    return tuple(Path(home).expanduser().resolve() for home in (place, *caches) if home)


def _load(name: str, place: Path | None) -> dict[str, Any]:
    """Its splits, pictures not decoded."""
    try:
        import datasets  # noqa: PLC0415 - an extra, and slow to import
    except ImportError as error:
        raise UserError(
            f"{HUB}{name} needs the library datasets", remedy="pip install 'reslab[hf]'"
        ) from error
    # Its bars would come between lines of ours.
    datasets.disable_progress_bars()
    heard: list[str] = []
    try:
        with _listening() as heard:
            if place is None:
                _LOG.info("asking the hub for %s", name)
                path, _, configuration = name.partition(":")
                found = datasets.load_dataset(path, configuration or None)
            elif is_saved(place):
                found = datasets.load_from_disk(str(place))
            else:
                found = datasets.load_dataset(str(place))
    except Exception as error:
        # It raises whatever its many file systems and formats raise.
        raise UserError(
            f"{HUB}{name} could not be loaded",
            expected="a data set on the disk, or the name of one on the hub, and a network",
            received=_why(error, heard),
        ) from error
    tables = dict(found) if isinstance(found, datasets.DatasetDict) else {"all": found}
    for split, table in tables.items():
        for column, feature in table.features.items():
            if isinstance(feature, datasets.Image):
                tables[split] = tables[split].cast_column(column, datasets.Image(decode=False))
    return tables


def is_saved(place: Path) -> bool:
    """Whether a folder is one that ``save_to_disk`` wrote, of one table or of several splits."""
    names = ("state.json", "dataset_info.json")
    return (place / "dataset_dict.json").is_file() or all((place / n).is_file() for n in names)


class _Heard(logging.Handler):
    """Keeps what is logged, for who wants to know what went wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.told.append(record.getMessage())


@contextmanager
def _listening() -> Iterator[list[str]]:
    """Within the context what the libraries log of each try is kept, and not printed."""
    heard = _Heard()
    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub")]
    before = [(logger.handlers, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.handlers, logger.propagate = [heard], False
    try:
        yield heard.told
    finally:
        for logger, (handlers, propagate) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate


def _why(error: BaseException, heard: Sequence[str]) -> str:
    """What an error says, and what was at the bottom of it.

    Args:
        error: of the library.
        heard: what it logged before. Of a hub that is not reached it tells the cause there alone.
    """
    root = error
    while root.__cause__ is not None:
        root = root.__cause__
    told, cause = (" ".join(str(one).split()) or type(one).__name__ for one in (error, root))
    if isinstance(error, ConnectionError) and heard:
        cause = " ".join(heard[-1].split())
    return told[:300] if cause in told else f"{told[:300]}, since {cause[:200]}"


def _columns(name: str, tables: Mapping[str, Any]) -> tuple[str, str]:
    """The columns of the pictures and of their classes, which all splits have."""
    shared = [
        {c: f for c, f in table.features.items() if all(c in t.features for t in tables.values())}
        for table in tables.values()
    ]
    features = shared[0] if shared else {}
    pictures = [c for c, feature in features.items() if type(feature).__name__ == "Image"]
    classes = [c for c, feature in features.items() if hasattr(feature, "names")]
    if len(classes) != 1:
        classes = [c for c in _LABELS if c in features][:1]
    if len(pictures) != 1 or len(classes) != 1:
        raise _unclear(name, tables)
    return pictures[0], classes[0]


def _unclear(name: str, tables: Mapping[str, Any]) -> UserError:
    told = (
        f"{split}: " + ", ".join(f"{c} ({type(f).__name__})" for c, f in table.features.items())
        for split, table in tables.items()
    )
    return UserError(
        f"{HUB}{name} has no column of pictures and one of their classes",
        expected="one Image, and one ClassLabel or one of texts or whole numbers called "
        + ", ".join(_LABELS),
        received="; ".join(told) or "no splits",
        remedy="select or rename its columns, save it with save_to_disk, and name that folder",
    )
