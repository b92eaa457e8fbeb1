"""What a folder or a manifest of pictures holds: files, classes and splits, no file opened yet.

Three layouts are known, and told apart by the folder itself:

- ``class/…/picture.jpg``: each folder at the top is a class, however deep its pictures lie;
- ``train/class/…``, ``val/class/…``, ``test/class/…``: which names are splits, and where they are
  classes all the same, is in ``reslab.data.pictures.layout``. ImageNet's flat ``val`` is one of
  these, with its file of classes (``reslab.data.pictures.imagenet``);
- a manifest: CSV, TSV or JSON lines with ``path`` and ``label``, maybe ``split`` and ``group``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from reslab.data.pictures.imagenet import find_solution, read_solution
from reslab.data.pictures.layout import SplitName, splits_among
from reslab.data.pictures.stores import Files, Store
from reslab.data.pictures.walk import (
    Entry,
    PassedOver,
    entries,
    is_picture,
    pass_over,
    pictures,
    real,
    shape_of,
)
from reslab.errors import UserError

__all__ = ["Listed", "Listing", "PassedOver", "SplitName", "list_folder"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """A picture.

    Attributes:
        path: below the folder of all, with slashes; or absolute.
        label: the name of its class.
        split: that it belongs to, where that is said.
        group: of pictures that belong together, where that is said.
        shard: file that it lies in with others; empty: it has one of its own.
    """

    path: str
    label: str
    split: SplitName | None = None
    group: str | None = None
    shard: str = ""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """All pictures of a data set.

    Attributes:
        store: has the pictures, by their paths.
        files: the pictures, in the order of their paths or of the manifest's lines.
        passed_over: what else was found.
        origin: the folder or manifest that it was made of.
        order: names of all classes, where these have an order of their own.
    """

    store: Store
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
        """The listing without some paths; see ``reslab.data.pictures.path_lists``."""
        wanted = set(excluded)
        left = tuple(file for file in self.files if file.path not in wanted)
        gone = tuple(
            PassedOver(path=file.path, reason="excluded")
            for file in self.files
            if file.path in wanted
        )
        return replace(self, files=left, passed_over=self.passed_over + gone)

    def not_there(self, excluded: Sequence[str]) -> tuple[str, ...]:
        """Those of the paths given to ``without`` that no picture had."""
        gone = {item.path for item in self.passed_over if item.reason == "excluded"}
        return tuple(path for path in excluded if path not in gone)

    def check_excluded(self, excluded: Sequence[str]) -> None:
        """Refuse a list of exclusions none of which was excluded, as a wrong list would be.

        Raises:
            UserError: where it is one.
        """
        if excluded and len(self.not_there(excluded)) == len(excluded):
            raise UserError(
                f"no file to be excluded is in {self.origin}",
                expected="paths as `reslab data check --fix-list` writes them",
                received=sorted(excluded)[0],
                remedy="give the list of this folder",
            )


def list_folder(root: Path) -> Listing:
    """The pictures below a folder, by the layout that it has.

    Raises:
        UserError: where it cannot be read, holds no pictures in folders of classes, or may be
            read in two ways.
    """
    passed: list[PassedOver] = []
    tops = list(entries(root, "", passed))
    splits = splits_among(root, tops)
    files: list[Listed] = []
    if splits:
        for entry in tops:
            if entry.name in splits:
                files += _of_split(root, entry, splits[entry.name], passed)
            elif entry.is_dir() and not shape_of(Path(entry.path)).holds:
                pass_over(entry, "", "no_image", passed)
            else:
                pass_over(entry, "", "outside", passed)
    else:
        files += _classes(tops, "", None, passed, real(root))
    if not files:
        raise _no_classes(root, passed)
    return Listing(store=Files(root), files=tuple(files), passed_over=tuple(passed), origin=root)


def _of_split(
    root: Path, entry: Entry, split: SplitName, passed: list[PassedOver]
) -> Iterator[Listed]:
    """The pictures of a folder of a split, in folders of classes or with a file that tells them."""
    folder, below = Path(entry.path), f"{entry.name}/"
    shape = shape_of(folder)
    if not shape.loose or shape.sorted:
        yield from _classes(
            entries(folder, below, passed), below, split, passed, real(root, folder)
        )
        return
    solution = find_solution(root) if split == "val" else None
    labels = {} if solution is None else read_solution(solution)
    if not any(Path(inside.name).stem in labels for inside in entries(folder, below, [])):
        pass_over(entry, "", "unlabelled", passed)
        return
    for inside in entries(folder, below, passed):
        label = labels.get(Path(inside.name).stem)
        if not is_picture(inside) or inside.is_dir():
            pass_over(inside, below, "no_image", passed)
        elif label is None:
            pass_over(inside, below, "outside", passed)
        else:
            yield Listed(path=f"{below}{inside.name}", label=label, split=split)


def _classes(
    inside: Iterable[Entry],
    below: str,
    split: SplitName | None,
    passed: list[PassedOver],
    above: frozenset[str],
) -> Iterator[Listed]:
    """The pictures in folders of classes; ``above``: see ``reslab.data.pictures.walk.pictures``."""
    for entry in inside:
        if not entry.is_dir():
            pass_over(entry, below, "outside", passed)
            continue
        is_empty = True
        for path in pictures(Path(entry.path), f"{below}{entry.name}/", passed, above):
            is_empty = False
            yield Listed(path=path, label=entry.name, split=split)
        if is_empty:
            passed.append(PassedOver(path=f"{below}{entry.name}/", reason="empty"))


def _no_classes(root: Path, passed: Sequence[PassedOver]) -> UserError:
    """Why nothing was found."""
    reasons = Counter(item.reason for item in passed)
    flat = [item.path for item in passed if item.reason == "unlabelled"]
    if flat:
        received = f"pictures directly in {' and '.join(flat)}"
    elif reasons["unreadable"]:
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


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names of classes sorted, numbers by what they count.

    >>> in_order(["10", "9", "1"]), in_order(["b", "10", "9"])
    (('1', '9', '10'), ('10', '9', 'b'))
    """
    distinct = sorted(set(names))
    if all(name.isdecimal() for name in distinct):
        return tuple(sorted(distinct, key=int))
    return tuple(distinct)
