"""What a tar file of pictures holds, told by its headers, for which nobody vouches."""

from __future__ import annotations

import tarfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from reslab.data.pictures.preprocess import OTHER_SUFFIXES, SUFFIXES
from reslab.data.pictures.walk import PassedOver, Reason
from reslab.errors import UserError

# Endings of what tells a picture's class, the first that does.
TELLERS = (".cls", ".json")

# Of what tells a class: more than that tells something else.
_MOST_BYTES = 2**20

# Bytes of a shard's end that are read at once.
_PIECE = 2**20


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


@dataclass
class Sample:
    """What belongs to one key, by ending: pictures, and the content of what tells a class."""

    pictures: dict[str, Member] = field(default_factory=dict)
    told: dict[str, bytes] = field(default_factory=dict)


def read_shard(path: Path, label: str, passed: list[PassedOver]) -> dict[str, Sample]:
    """All keys of a shard with what belongs to them.

    Args:
        path: of the shard.
        label: what it is called.
        passed: what is not taken is put here.

    Raises:
        UserError: where it cannot be read, or is no tar file.
    """
    try:
        told = path.stat()
        reader = _Reader(path, label, told.st_mtime_ns, passed)
        with tarfile.open(path, "r:") as tar:
            if not reader.take(tar, told.st_size):
                passed.append(PassedOver(path=f"{label}/", reason="damaged"))
    except OSError as error:
        raise UserError(f"{path} cannot be read", received=str(error.strerror).lower()) from error
    except Exception as error:
        # tarfile raises many kinds for headers that are none.
        raise UserError(
            f"{path} is no shard",
            expected="a tar file that is not compressed",
            received=str(error),
            remedy="unpack it with gunzip, or name others",
        ) from error
    return reader.samples


@dataclass
class _Reader:
    """Sorts the members of a shard into samples; see ``read_shard``."""

    path: Path
    label: str
    changed: int
    passed: list[PassedOver]
    samples: dict[str, Sample] = field(default_factory=lambda: defaultdict(Sample))

    def take(self, tar: tarfile.TarFile, size: int) -> bool:
        """Whether it is whole; what comes before damage is good."""
        try:
            for member in tar:
                # A negative size would lead back to where it came from, for ever.
                if member.size < 0 or member.offset_data + member.size > size:
                    return False
                self._sort_in(tar, member)
        except Exception:  # noqa: BLE001 - see ``read_shard``
            return False
        # tarfile takes a header that is none for the end, which is zeros to the last byte.
        with self.path.open("rb") as file:
            file.seek(tar.offset)
            while rest := file.read(_PIECE):
                if any(rest):
                    return False
        return size % tarfile.BLOCKSIZE == 0

    def _sort_in(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        key, end = _key_and_end(member.name)
        is_plain = member.isreg() and not member.issparse()
        if end in OTHER_SUFFIXES or (end in SUFFIXES and not is_plain):
            self._pass_over(member, "no_image")
        elif end in SUFFIXES:
            place = Member(self.path, member.offset_data, member.size, self.changed)
            if self.samples[key].pictures.setdefault(end, place) is not place:
                self._pass_over(member, "twice")
        elif end in TELLERS and is_plain and member.size <= _MOST_BYTES:
            content = tar.extractfile(member)
            self.samples[key].told[end] = content.read() if content is not None else b""

    def _pass_over(self, member: tarfile.TarInfo, reason: Reason) -> None:
        self.passed.append(PassedOver(path=f"{self.label}/{member.name}", reason=reason))


def _key_and_end(name: str) -> tuple[str, str]:
    """A path up to the first dot of its name, and the rest.

    >>> _key_and_end("cats/a.b/0001.seg.PNG")
    ('cats/a.b/0001', '.seg.png')
    """
    path = PurePosixPath(name)
    stem, dot, end = path.name.partition(".")
    return str(path.with_name(stem)) if stem else name, (dot + end).lower()
