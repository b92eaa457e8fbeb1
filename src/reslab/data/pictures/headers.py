"""What the headers of picture files say: how large the images are to be, and whether in colours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image

from reslab.data.pictures.listing import Listed
from reslab.data.pictures.preprocess import FORMATS
from reslab.data.pictures.shown import is_grey
from reslab.data.pictures.stores import Store
from reslab.engine.machine import inspect_machine

# Pictures whose headers tell the usual size.
_SAMPLED = 200

# Pictures whose headers are read before it is asked whether that was enough.
_PIECE = 1024

# Images are not made larger than this unless that is asked for: what nets are trained on.
_USUAL_SIZE = 224

# Sides are a multiple of this, by which the nets with an imagenet stem divide them.
_STEP = 32


def usual_size(store: Store, files: Sequence[Listed]) -> int:
    """Side of the images, in pixels: that of most pictures, or what nets are trained on."""
    some = files[:: max(1, -(-len(files) // _SAMPLED))]
    return _fitting_size([min(found.size) for found in _headers(store, some)])


def all_grey(store: Store, files: Sequence[Listed]) -> bool:
    """Whether no picture has colours: one that has some is enough, so that all may be asked."""
    return all(found.is_grey for found in _headers(store, files))


@dataclass(frozen=True)
class _Header:
    """What a picture file says before its pixels: columns and rows, and whether it is grey."""

    size: tuple[int, int]
    is_grey: bool


def _headers(store: Store, files: Sequence[Listed]) -> Iterator[_Header]:
    """Of the pictures that can be read, some at a time."""
    with ThreadPoolExecutor(inspect_machine().cpus, thread_name_prefix="headers") as pool:
        for first in range(0, len(files), _PIECE):
            names = [file.path for file in files[first : first + _PIECE]]
            yield from filter(None, pool.map(partial(_read_header, store), names))


def _read_header(store: Store, name: str) -> _Header | None:
    try:
        with store.open(name) as file, Image.open(file, formats=FORMATS) as image:
            return _Header(image.size, is_grey(image))
    except Exception:  # noqa: BLE001 - what is wrong with it is told when it is decoded
        return None


def _fitting_size(sides: Sequence[int]) -> int:
    """Side of the images for pictures whose shorter sides are these.

    >>> _fitting_size([375, 500]), _fitting_size([28, 28]), _fitting_size([150]), _fitting_size([])
    (224, 28, 128, 224)
    """
    if not sides:
        return _USUAL_SIZE
    middle = int(np.median(sides))
    if middle < 2 * _STEP:
        return max(middle, 1)
    return min(_USUAL_SIZE, middle // _STEP * _STEP)
