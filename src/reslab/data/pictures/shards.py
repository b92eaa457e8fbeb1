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
import tarfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from reslab.catalog.datasets import SHARDS
from reslab.data.pictures.layout import SPLIT_FOLDERS, SplitName
from reslab.data.pictures.listing import Listed, Listing
from reslab.data.pictures.patterns import expand
from reslab.data.pictures.preprocess import SUFFIXES
from reslab.data.pictures.walk import PassedOver
from reslab.errors import UserError

# Endings of what tells a picture's class, and what it is called in a JSON object.
_TELLERS = (".cls", ".json")
_KEYS = ("label", "cls")

# Of what tells a class: more than that tells something else.
_MOST_BYTES = 2**20

_WORDS = re.compile(r"[A-Za-z]+")


@dataclass(frozen=True, slots=True)
class Member:
    """A picture in a shard.

    Attributes:
        shard: which.
        place: of its first byte.
        size: in bytes.
        changed: when the shard had last been changed, in nanoseconds of the epoch.
    """

    shard: Path
    place: int
    size: int
    changed: int


@dataclass(frozen=True)
class Shards:
    """The pictures of shards; see ``reslab.data.pictures.stores.Store``.

    Attributes:
        origin: the pattern that names the shards.
        members: where each picture lies, by its name.
    """

    origin: str
    members: dict[str, Member] = field(repr=False)

    def stamp(self, name: str) -> tuple[int, int]:
        """Bytes of the picture, and when its shard was last changed."""
        found = self.members.get(name)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        return found.size, found.changed

    def read(self, name: str) -> bytes:
        """The picture's file.

        Raises:
            OSError: where its shard cannot be read.
            UserError: where its shard has been changed since it was listed.
        """
        found = self.members.get(name)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
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


def list_shards(pattern: str) -> Listing:
    """The pictures of all shards that a pattern names.

    A shard is for training, validation or the test where a word of its path says so.

    Args:
        pattern: paths of shards, with ``{000..127}`` and ``{a,b}`` for each of them, ``*`` and
            ``?`` for any characters, and ``::`` between several patterns.

    Raises:
        UserError: where one cannot be read, is compressed, or holds no pictures with classes.
    """
    paths = expand(pattern)
    files: list[Listed] = []
    passed: list[PassedOver] = []
    members: dict[str, Member] = {}
    common = Path(os.path.commonpath([path.parent for path in paths]))
    for path in paths:
        label = path.relative_to(common).as_posix()
        split = _split_of(label)
        for key, parts in _samples(path, label, passed).items():
            end = next((end for end in SUFFIXES if end in parts.pictures), None)
            if end is None:
                continue
            name = f"{label}/{key}{end}"
            found = next(filter(None, (_class_of(parts.told.get(t)) for t in _TELLERS)), None)
            if found is None or name in members:
                passed.append(PassedOver(path=name, reason="outside"))
                continue
            members[name] = parts.pictures[end]
            files.append(Listed(path=name, label=found, split=split, shard=label))
    if not files:
        raise UserError(
            f"the shards {pattern} hold no pictures with classes",
            expected=f"files such as 0001.jpg and 0001.cls in each of {len(paths):,}",
            received=f"{len(passed):,} that are something else" if passed else "none",
        )
    return Listing(
        store=Shards(pattern, members),
        files=tuple(files),
        passed_over=tuple(passed),
        origin=Path(f"{SHARDS}{pattern}"),
        order=in_order({file.label for file in files}),
    )


def _split_of(label: str) -> SplitName | None:
    words = [word.lower() for word in _WORDS.findall(label)]
    return next((SPLIT_FOLDERS[word] for word in words if word in SPLIT_FOLDERS), None)


@dataclass
class _Sample:
    """What belongs to one key, by ending: pictures, and the content of what tells a class."""

    pictures: dict[str, Member] = field(default_factory=dict)
    told: dict[str, bytes] = field(default_factory=dict)


def _samples(path: Path, label: str, passed: list[PassedOver]) -> dict[str, _Sample]:
    """All keys of a shard with what belongs to them."""
    found: dict[str, _Sample] = defaultdict(_Sample)
    try:
        told = path.stat()
        with tarfile.open(path, "r:") as tar:
            try:
                for member in tar:
                    _sort_in(tar, member, path, told.st_mtime_ns, found)
                # tarfile does not tell of a cut within a header.
                is_cut = 0 < told.st_size - tar.offset < tarfile.BLOCKSIZE
            except tarfile.ReadError:
                is_cut = True
    except tarfile.ReadError as error:
        raise UserError(
            f"{path} is no shard",
            expected="a tar file that is not compressed",
            received=str(error),
            remedy="unpack it with gunzip, or name others",
        ) from error
    except OSError as error:
        raise UserError(f"{path} cannot be read", received=str(error.strerror).lower()) from error
    if is_cut:
        # What came before is good.
        passed.append(PassedOver(path=f"{label}/", reason="unreadable"))
    return found


def _sort_in(
    tar: tarfile.TarFile,
    member: tarfile.TarInfo,
    path: Path,
    changed: int,
    found: dict[str, _Sample],
) -> None:
    """Add a file of a shard to the sample that it belongs to, if to any."""
    if not member.isreg() or member.issparse():
        return
    key, end = _key_and_end(member.name)
    if end in SUFFIXES:
        found[key].pictures[end] = Member(path, member.offset_data, member.size, changed)
    elif end in _TELLERS and member.size <= _MOST_BYTES:
        content = tar.extractfile(member)
        found[key].told[end] = content.read() if content is not None else b""


def _key_and_end(name: str) -> tuple[str, str]:
    """A path up to the first dot of its name, and the rest.

    >>> _key_and_end("cats/a.b/0001.seg.PNG")
    ('cats/a.b/0001', '.seg.png')
    """
    path = PurePosixPath(name)
    stem, dot, end = path.name.partition(".")
    return str(path.with_name(stem)) if stem else name, (dot + end).lower()


def _class_of(told: bytes | None) -> str | None:
    """The class that a file tells; None where it tells none."""
    if told is None:
        return None
    try:
        text = told.decode("utf-8").strip()
        if text.startswith("{"):
            found = json.loads(text)
            values = (found[key] for key in _KEYS if key in found)
            text = next((str(v).strip() for v in values if isinstance(v, str | int)), "")
    except (ValueError, RecursionError):
        return None
    if not text.isprintable():
        return None
    return str(int(text)) if text.isdecimal() else text or None


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names of classes sorted, numbers by what they count.

    >>> in_order(["10", "9", "1"]), in_order(["b", "10", "9"])
    (('1', '9', '10'), ('10', '9', 'b'))
    """
    distinct: Sequence[str] = sorted(set(names))
    if all(name.isdecimal() for name in distinct):
        return tuple(sorted(distinct, key=int))
    return tuple(distinct)
