"""WebDataset shards: tar files in which a picture and its class lie side by side.

Files whose paths are equal up to the first dot of their names belong together: ``cats/0001.jpg``
and its class in ``cats/0001.cls``, as a number or a name, or in ``cats/0001.json``, as ``label`` or
``cls``. Shards are read in any order and not from front to back, so that batches stay a pure
function of seed, epoch and step: a shard must be a file, and not compressed.

Source: https://github.com/webdataset/webdataset, README, "The WebDataset Format".
"""

from __future__ import annotations

import errno
import json
import os
import re
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from reslab.catalog.data_names import SHARDS
from reslab.data.pictures.layout import SPLIT_FOLDERS, SplitName
from reslab.data.pictures.listing import Listed, Listing, in_order
from reslab.data.pictures.patterns import expand
from reslab.data.pictures.reading import check_size
from reslab.data.pictures.tar import TELLERS, Member, Sample, read_shard
from reslab.data.pictures.walk import PassedOver
from reslab.errors import UserError

# What a class is called in a JSON object.
_KEYS = ("label", "cls")

_WORDS = re.compile(r"[A-Za-z]+")


@dataclass(frozen=True)
class Shards:
    """The pictures of shards; see ``reslab.data.pictures.stores.Store``.

    Attributes:
        origin: the shards, by their real paths.
        members: where each picture lies, by its name.
    """

    origin: str
    members: dict[str, Member] = field(repr=False)

    def stamp(self, name: str) -> tuple[int, int]:
        """Bytes of the picture, and where it is in its shard of what time."""
        found = self._find(name)
        return found.size, (found.changed << 64) + found.place

    def read(self, name: str) -> bytes:
        """The picture's file.

        Raises:
            OSError: where its shard cannot be read.
            UserError: where its shard has been changed since it was listed, or the picture is
                larger than any may be.
        """
        found = self._find(name)
        check_size(found.size, name)
        with found.shard.open("rb") as file:
            if os.fstat(file.fileno()).st_mtime_ns != found.changed:
                raise UserError(
                    f"the shard {found.shard} has been changed while it was in use",
                    remedy="begin again",
                )
            file.seek(found.place)
            return file.read(found.size)

    def open(self, name: str) -> BinaryIO:
        """The picture's file, read whole."""
        return BytesIO(self.read(name))

    def place(self, name: str) -> str:
        """Its name, which begins with its shard's."""
        return name

    def _find(self, name: str) -> Member:
        found = self.members.get(name)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        return found


def list_shards(pattern: str) -> Listing:
    """The pictures of all shards that a pattern names.

    A shard is for training, validation or the test where a word of its name says so, or the name
    of its folder.

    Args:
        pattern: see ``reslab.data.pictures.patterns.expand``.

    Raises:
        UserError: where one cannot be read, is compressed, or holds no pictures with classes.
    """
    paths = expand(pattern)
    files: list[Listed] = []
    passed: list[PassedOver] = []
    members: dict[str, Member] = {}
    common = Path(os.path.commonpath([path.parent for path in paths]))
    for path in paths:
        label, split = path.relative_to(common).as_posix(), _split_of(path)
        for key, sample in read_shard(path, label, passed).items():
            for end, picture in sample.pictures.items():
                name = f"{label}/{key}{end}"
                told = _class_of(sample)
                if picture is not next(iter(sample.pictures.values())):
                    passed.append(PassedOver(path=name, reason="twice"))
                elif told is None:
                    passed.append(PassedOver(path=name, reason="no_class"))
                else:
                    members[name] = picture
                    files.append(Listed(path=name, label=told, split=split, shard=label))
    if not files:
        raise UserError(
            f"the shards {pattern} hold no pictures with classes",
            expected=f"files such as 0001.jpg and 0001.cls in each of {len(paths):,}",
            received=f"{len(passed):,} that are something else" if passed else "none",
        )
    return Listing(
        store=Shards("\n".join(map(os.path.realpath, paths)), members),
        files=tuple(files),
        passed_over=tuple(passed),
        origin=Path(f"{SHARDS}{pattern}"),
        order=in_order({file.label for file in files}),
    )


def _split_of(path: Path) -> SplitName | None:
    words = [*_WORDS.findall(path.name), path.parent.name]
    found = (SPLIT_FOLDERS.get(word.lower()) for word in words)
    return next(filter(None, found), None)


def _class_of(sample: Sample) -> str | None:
    """The class that the files beside a picture tell; None where they tell none."""
    found = (_told_by(end, sample.told[end]) for end in TELLERS if end in sample.told)
    return next(filter(None, found), None)


def _told_by(end: str, content: bytes) -> str | None:
    try:
        text = content.decode("utf-8").strip()
        if end == ".json":
            found = json.loads(text)
            values = (found[key] for key in _KEYS if key in found)
            text = next(
                (
                    str(value).strip()
                    for value in values
                    if isinstance(value, str | int) and not isinstance(value, bool)
                ),
                "",
            )
        if not text.isprintable():
            return None
        return str(int(text)) if text.isdecimal() else text or None
    except (ValueError, TypeError, RecursionError):
        return None
