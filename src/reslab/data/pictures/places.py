"""From what people name as their pictures to a listing of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from reslab.catalog.data_names import HUB, SHARDS
from reslab.catalog.datasets import MANIFESTS
from reslab.data.pictures.hub import is_saved, list_rows
from reslab.data.pictures.listing import Listing, list_folder
from reslab.data.pictures.manifest import read_manifest
from reslab.data.pictures.shards import list_shards
from reslab.errors import UserError
from reslab.paths import find_place

# What lists pictures that are no files in folders, by the word before their name.
_LISTERS: Mapping[str, Callable[[str], Listing]] = {SHARDS: list_shards, HUB: list_rows}


def list_place(place: str | Path) -> Listing:
    """The pictures of a folder or manifest, of shards or of a data set of Hugging Face.

    Raises:
        UserError: where there is none.
    """
    for word, list_them in _LISTERS.items():
        if str(place).startswith(word):
            return list_them(str(place).removeprefix(word))
    found = find_place(place)
    if found is None:
        raise UserError(f"there is no folder or manifest {place}", remedy="check the path")
    if is_saved(found):
        return replace(list_rows(str(found)), origin=found)
    if found.is_dir():
        return list_folder(found)
    if found.suffix.lower() not in MANIFESTS:
        raise UserError(
            f"{found} is no manifest",
            expected=f"a folder, or a file in {', '.join(MANIFESTS)}",
            received=found.suffix or "a file without a suffix",
        )
    return read_manifest(found)
