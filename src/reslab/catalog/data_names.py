"""How data sets are called: by the name of a card, or by what pictures of one's own are."""

from __future__ import annotations

import os
import re
from pathlib import Path

from reslab.catalog.datasets import DATASETS, MANIFESTS
from reslab.catalog.names import nearest
from reslab.errors import UserError
from reslab.paths import find_place

# Before the name of a folder or manifest of pictures, which has no card.
FOLDER_PREFIX = "folder:"

# What stands before a pattern of shards, and before the name of a data set of Hugging Face.
SHARDS, HUB = "wds:", "hf:"

_OWN = (FOLDER_PREFIX, SHARDS, HUB)


def is_own(name: str) -> bool:
    """Whether ``data.name`` stands for pictures of one's own, which ``data.root`` then names.

    >>> is_own("folder:pets"), is_own("hf:pets"), is_own("mnist")
    (True, True, False)
    """
    return name.startswith(_OWN)


def label_in(name: str) -> str:
    """``data.name`` without what it says of the kind of pictures of one's own.

    >>> label_in("wds:pets"), label_in("mnist")
    ('pets', 'mnist')
    """
    return name.partition(":")[2] if is_own(name) else name


def name_of(place: str | Path) -> str:
    """What runs on a folder or manifest of pictures, on shards or a data set are called by.

    >>> name_of(Path("/data/My pets/"))
    'folder:My-pets'
    >>> name_of("wds:/data/pets/train-{000..127}.tar"), name_of("hf:someone/pets")
    ('wds:pets', 'hf:pets')
    """
    told = str(place)
    prefix = next((word for word in (SHARDS, HUB) if told.startswith(word)), FOLDER_PREFIX)
    path = Path(told.removeprefix(prefix))
    if prefix == SHARDS:
        path = Path(told.removeprefix(SHARDS).partition("::")[0]).parent
    # Unlike Path.resolve it bears a link to itself.
    own = Path(os.path.realpath(path))
    name = own.stem if own.suffix.lower() in MANIFESTS else own.name
    return prefix + (re.sub(r"[^\w.]+", "-", name).strip("-") or "pictures")


def name_and_root(data: str, root: str | None = None) -> tuple[str, str | None]:
    """``data.name`` and ``data.root`` for what ``--data`` and ``--root`` say.

    Args:
        data: the name of a data set, or a folder or manifest of pictures, shards (``wds:``) or a
            data set of Hugging Face (``hf:``).
        root: the folder that holds a named one's files.

    Raises:
        UserError: where a folder is given twice, or its path cannot be followed.

    >>> name_and_root("mnist"), name_and_root("./pets")
    (('mnist', None), ('folder:pets', './pets'))
    """
    if data in {card.name for card in DATASETS} or data.startswith(FOLDER_PREFIX):
        return data, root
    place = None if data.startswith((SHARDS, HUB)) else find_place(data)
    if place is None and not ("/" in data or os.sep in data or data.startswith((SHARDS, HUB))):
        return data, root
    if root is not None:
        raise UserError(
            f"--data {data} is a folder or manifest of its own",
            received=f"--root {root} as well",
            remedy="leave --root out",
        )
    return name_of(place or data), data


def why_unknown(name: str) -> str:
    """What is wrong with ``data.name``, and what may have been meant; empty where nothing is.

    A word without a slash may have been meant as a folder, so that both are told of.
    """
    known = [card.name for card in DATASETS]
    if is_own(name) or name in known:
        return ""
    if _is_there(name):
        return (
            f"unknown data set {name!r}, which is a folder or file; name it with --data ./{name}, "
            f"or as {name_of(name)} with its path as data.root"
        )
    near = nearest(name, known)
    meant = f"; did you mean {near!r}?" if near else f": expected one of {', '.join(known)}"
    return f"unknown data set {name!r}, and there is no folder or manifest ./{name}{meant}"


def _is_there(name: str) -> bool:
    try:
        return bool(name) and find_place(name) is not None
    except UserError:
        return False
