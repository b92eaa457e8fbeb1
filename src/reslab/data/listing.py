"""What a folder or a manifest of pictures holds: files, classes and splits, no file opened yet.

Three layouts are known, and told apart by the folder itself:

- ``class/…/picture.jpg``: each folder at the top is a class, however deep its pictures lie;
- ``train/class/…``, ``val/class/…``, ``test/class/…``, where there is a folder for training;
- a manifest: CSV, TSV or JSON lines with ``path`` and ``label``, maybe ``split`` and ``group``.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from reslab.data.preprocess import SUFFIXES
from reslab.errors import UserError

SplitName = Literal["train", "val", "test"]

# What people call the folders of a split.
SPLIT_FOLDERS: dict[str, SplitName] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}

# What systems and tools leave in folders, besides whatever begins with a dot.
LEFTOVERS = ("__macosx", "thumbs.db", "desktop.ini", "$recycle.bin", "@eadir", "lost+found")

# Why a file or folder is no part of the data.
Reason = Literal["hidden", "no_image", "outside", "empty", "unreadable", "loop", "excluded"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """A picture.

    Attributes:
        path: below the listing's root, with slashes; or absolute.
        label: the name of its class.
        split: that it belongs to, where that is said.
        group: of pictures that belong together, where that is said.
    """

    path: str
    label: str
    split: SplitName | None = None
    group: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PassedOver:
    """A file or folder that was left out.

    Attributes:
        path: as of ``Listed``; of a folder it ends with a slash.
        reason: why.
    """

    path: str
    reason: Reason


@dataclass(frozen=True, kw_only=True)
class Listing:
    """All pictures of a data set.

    Attributes:
        root: the folder that paths start from.
        files: the pictures, in the order of their paths or of the manifest's lines.
        passed_over: what else was found.
        origin: the folder or manifest that it was made of.
        order: names of all classes, where these have an order of their own.
    """

    root: Path
    files: tuple[Listed, ...]
    passed_over: tuple[PassedOver, ...] = ()
    origin: Path
    order: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of all classes: sorted, where they have no order of their own."""
        return self.order or tuple(sorted({file.label for file in self.files}))

    def of(self, split: SplitName | None) -> tuple[Listed, ...]:
        """The pictures of a split; None: those whose split is not said."""
        return tuple(file for file in self.files if file.split == split)

    def without(self, excluded: Sequence[str]) -> Listing:
        """The listing without some paths; see ``read_exclusions``."""
        wanted = set(excluded)
        left = tuple(file for file in self.files if file.path not in wanted)
        gone = tuple(
            PassedOver(path=file.path, reason="excluded")
            for file in self.files
            if file.path in wanted
        )
        return replace(self, files=left, passed_over=self.passed_over + gone)

    def check_excluded(self, excluded: Sequence[str]) -> None:
        """Refuse a list of exclusions none of which was excluded, as a wrong list would be.

        Raises:
            UserError: where it is one.
        """
        if not any(item.reason == "excluded" for item in self.passed_over):
            raise UserError(
                f"no file to be excluded is in {self.origin}",
                expected="paths as `reslab data check --fix-list` writes them",
                received=sorted(excluded)[0],
                remedy="give the list of this folder",
            )


def list_folder(root: Path) -> Listing:
    """The pictures below a folder, by the layout that it has.

    Raises:
        UserError: where it cannot be read, or holds no pictures in folders of classes.
    """
    passed: list[PassedOver] = []
    tops = list(_entries(root, "", passed))
    splits = {
        entry.name: SPLIT_FOLDERS[entry.name.lower()]
        for entry in tops
        if entry.is_dir() and entry.name.lower() in SPLIT_FOLDERS
    }
    if "train" not in splits.values():
        # A class may be called "test".
        splits = {}
    files: list[Listed] = []
    if splits:
        for entry in tops:
            split = splits.get(entry.name)
            if split is None:
                _pass_over(entry, "", "outside", passed)
                continue
            below = f"{entry.name}/"
            inside = _entries(Path(entry.path), below, passed)
            files += _classes(inside, below, split, passed, _real(root, entry.path))
    else:
        files += _classes(iter(tops), "", None, passed, _real(root))
    if not files:
        raise _no_classes(root, passed)
    return Listing(root=root, files=tuple(files), passed_over=tuple(passed), origin=root)


def _classes(
    entries: Iterator[os.DirEntry[str]],
    below: str,
    split: SplitName | None,
    passed: list[PassedOver],
    above: frozenset[str],
) -> Iterator[Listed]:
    """The pictures in folders of classes; ``above``: see ``_pictures``."""
    for entry in entries:
        if not entry.is_dir():
            _pass_over(entry, below, "outside", passed)
            continue
        is_empty = True
        for path in _pictures(Path(entry.path), f"{below}{entry.name}/", passed, above):
            is_empty = False
            yield Listed(path=path, label=entry.name, split=split)
        if is_empty:
            passed.append(PassedOver(path=f"{below}{entry.name}/", reason="empty"))


def _pictures(
    folder: Path, below: str, passed: list[PassedOver], above: frozenset[str]
) -> Iterator[str]:
    """Paths of the pictures in a folder and in the folders in it.

    Args:
        folder: where to look.
        below: its path from the root on, with a slash at its end.
        passed: what is not taken is put here.
        above: the real paths of the folders that it lies in, so that a link to one of them is
            not followed for ever.
    """
    real = os.path.realpath(folder)
    if real in above:
        passed.append(PassedOver(path=below, reason="loop"))
        return
    for entry in _entries(folder, below, passed):
        if entry.is_dir():
            yield from _pictures(Path(entry.path), f"{below}{entry.name}/", passed, above | {real})
        elif entry.name.lower().endswith(SUFFIXES):
            yield f"{below}{entry.name}"
        else:
            _pass_over(entry, below, "no_image", passed)


def _real(*folders: Path | str) -> frozenset[str]:
    return frozenset(os.path.realpath(folder) for folder in folders)


def _entries(folder: Path, below: str, passed: list[PassedOver]) -> Iterator[os.DirEntry[str]]:
    """What is in a folder and is not hidden, in the order of the names."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError:
        passed.append(PassedOver(path=below or "./", reason="unreadable"))
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name.lower() in LEFTOVERS:
            _pass_over(entry, below, "hidden", passed)
        else:
            yield entry


def _pass_over(
    entry: os.DirEntry[str], below: str, reason: Reason, passed: list[PassedOver]
) -> None:
    slash = "/" if entry.is_dir() else ""
    passed.append(PassedOver(path=f"{below}{entry.name}{slash}", reason=reason))


def _no_classes(root: Path, passed: Sequence[PassedOver]) -> UserError:
    """Why nothing was found."""
    reasons = Counter(item.reason for item in passed)
    if reasons["unreadable"]:
        received = "a folder that may not be read"
    elif reasons["outside"]:
        received = f"{reasons['outside']:,} files or folders outside of any class"
    else:
        received = "no picture"
    return UserError(
        f"there are no classes with pictures in {root}",
        expected="class/picture.jpg, or the same below train, val and test",
        received=received,
        remedy="sort the pictures into a folder for each class, or name a manifest with a line "
        "for each: path,label",
    )


def format_exclusions(paths: Sequence[str]) -> str:
    """A list that ``read_exclusions`` makes the same paths of."""
    return "".join(f"{path}\n" for path in paths)


def read_exclusions(path: str | Path) -> tuple[str, ...]:
    """Paths to leave out, from a text file with a line for each; lines with # in front say why.

    Raises:
        UserError: where it cannot be read.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no UTF-8 text"
        raise UserError(
            f"the list {path} cannot be read",
            received=str(reason).lower(),
            remedy="give one that `reslab data check --fix-list` wrote",
        ) from error
    return tuple(line for line in lines if line.strip() and not line.startswith("#"))
