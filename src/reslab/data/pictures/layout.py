"""Whether the folders at the top of a folder of pictures are splits or classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from reslab.data.pictures.walk import Entry, Shape, classes_in, shape_of
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


def splits_among(root: Path, tops: Sequence[Entry]) -> dict[str, SplitName]:
    """The folders that are splits, with which; empty where all are classes.

    Only folders with pictures somewhere below them have a say. They are splits:

    - where all of them are named as splits, and one is for training or holds folders of classes;
    - where others lie beside them, if the one for training holds folders of classes, and there
      is one for validation or test too or one of the others repeats the name of a class.

    Else they are classes, unless a folder for training with nothing but folders in it is the only
    one named as a split: this may be either.

    Args:
        root: the folder.
        tops: what is at its top.

    Raises:
        UserError: where it may be either.
    """
    folders = {entry.name: Path(entry.path) for entry in tops if entry.is_dir()}
    named = {name: SPLIT_FOLDERS[name.lower()] for name in folders if name.lower() in SPLIT_FOLDERS}
    if not named:
        return {}
    shapes = {name: shape_of(folder) for name, folder in folders.items()}
    others = [name for name, shape in shapes.items() if name not in named and shape.holds]
    if others:
        return named if _are_splits(root, folders, named, shapes, others) else {}
    has_training = any(shapes[name].holds for name in _of("train", named))
    return named if has_training or any(shapes[name].sorted for name in named) else {}


def _are_splits(
    root: Path,
    folders: Mapping[str, Path],
    named: Mapping[str, SplitName],
    shapes: Mapping[str, Shape],
    others: Sequence[str],
) -> bool:
    """Whether folders named as splits are such, with others beside them that hold pictures."""
    training = [name for name in _of("train", named) if shapes[name].sorted]
    if not training:
        return False
    if any(shapes[name].holds for name in named if named[name] != "train"):
        return True
    known = set[str]().union(*(classes_in(folders[name]) for name in training))
    if any(shapes[name].sorted and known & classes_in(folders[name]) for name in others):
        return True
    if any(shapes[name].loose for name in training):
        return False
    raise UserError(
        f"it cannot be told whether {training[0]} in {root} is a class or the folder for training",
        expected="folders of splits alone, or folders of classes alone",
        received=f"{training[0]}/{min(known)}/ and {others[0]}/ with pictures",
        remedy=f"name {root / training[0]} if the classes are in it, else rename it",
    )


def _of(split: SplitName, named: Mapping[str, SplitName]) -> list[str]:
    return [name for name, found in named.items() if found == split]
