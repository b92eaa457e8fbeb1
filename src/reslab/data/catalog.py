"""From the name of a data set to its reader: a new kind is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from reslab.catalog.data_names import is_own, why_unknown
from reslab.catalog.datasets import DATASETS, DataCard
from reslab.data.cifar import CifarSource
from reslab.data.digits import DigitsSource
from reslab.data.idx import IdxSource
from reslab.data.source import DataSource
from reslab.errors import UserError
from reslab.paths import find_place

if TYPE_CHECKING:
    from reslab.data.pictures.folder import FileSettings

# Readers of data sets that come with a library, and so have no files to be pointed to.
BUNDLED: dict[str, Callable[[DataCard], DataSource]] = {
    "digits": DigitsSource,
}

# Readers of files, in a folder that the user names or in the cache.
READERS: dict[str, Callable[[DataCard, Path | None], DataSource]] = {
    "idx": IdxSource,
    "cifar": CifarSource,
}

# Kinds whose reader takes the published archive itself as well as a folder.
_TAKE_ARCHIVE = ("cifar",)


def open_source(
    name: str, root: Path | str | None = None, files: FileSettings | None = None
) -> DataSource:
    """The data set of that name. Nothing is read or downloaded before a split is loaded.

    Args:
        name: the name of a card in ``reslab.catalog.datasets``, or ``folder:``, ``wds:`` or
            ``hf:`` and any name for the pictures that ``root`` names.
        root: the folder that holds its files; without it the cache is used and, where that
            lacks them, the files are downloaded into it.
        files: how pictures of a folder are read; the others are not concerned.

    Returns:
        The data set.

    Raises:
        UserError: where there is no such data set, ``root`` is not a folder, or the data set
            is bundled and takes none.

    Example:
        >>> open_source("digits").card.image_size
        8
    """
    if is_own(name):
        if root is None:
            raise UserError(
                f"{name} needs --root",
                expected="what holds its pictures, as --data takes it",
                remedy="name it with --data, or with --root",
            )
        # torch comes with the decoder, and is not waited for by who has no pictures.
        from reslab.data.pictures.folder import open_folder  # noqa: PLC0415

        return open_folder(root, files)
    card = find_card(name)
    if card.kind in BUNDLED:
        if root is not None:
            raise UserError(
                f"{card.name} is bundled with scikit-learn and takes no --root",
                remedy="leave --root out",
            )
        return BUNDLED[card.kind](card)
    if root is None:
        return READERS[card.kind](card, None)
    place = find_place(root)
    if place is None:
        raise UserError(
            f"--root {root} does not exist",
            remedy=f"give the folder that holds the {card.name} files",
        )
    if not place.is_dir() and card.kind not in _TAKE_ARCHIVE:
        raise UserError(
            f"--root {place} is a file",
            expected="a folder",
            remedy=f"give the folder that holds the {card.name} files",
        )
    return READERS[card.kind](card, place)


def find_card(name: str) -> DataCard:
    """The card of that name.

    Raises:
        UserError: where there is none, with the nearest name, or all where none is near.
    """
    found = next((card for card in DATASETS if card.name == name), None)
    if found is None:
        raise UserError(why_unknown(name))
    return found
