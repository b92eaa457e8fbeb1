"""Random parts of an image, scaled to one size: what nets for photographs are trained with.

Shape suffixes: ``N`` images, ``C`` channels, ``H`` and ``W`` rows and columns, ``T`` tries.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt
import torch

# Width over height, and how often a box is drawn anew that does not fit in: torchvision's.
_ASPECTS = (3 / 4, 4 / 3)
_TRIES = 10


def draw_boxes(
    rng: np.random.Generator, n: int, *, height: int, width: int, least: float
) -> npt.NDArray[np.int64]:
    """A box (row, column, rows, columns) for each image, (N, 4).

    Its area is a share of the image's from ``least`` to 1, its sides 3:4 to 4:3. Where none of
    ten draws fits into the image, it is the whole image.

    Source: Szegedy et al., arXiv 1409.4842, section 6, as torchvision has it.
    """
    area_NT = rng.uniform(least, 1.0, (n, _TRIES)) * height * width
    narrowest, widest = np.log(_ASPECTS).tolist()
    aspect_NT = np.exp(rng.uniform(narrowest, widest, (n, _TRIES)))
    columns_NT = np.rint(np.sqrt(area_NT * aspect_NT)).astype(np.int64)
    rows_NT = np.rint(np.sqrt(area_NT / aspect_NT)).astype(np.int64)
    place_NT2 = rng.random((n, _TRIES, 2))
    fits_NT: npt.NDArray[np.bool_] = (
        (columns_NT >= 1) & (columns_NT <= width) & (rows_NT >= 1) & (rows_NT <= height)
    )
    first_N = fits_NT.argmax(axis=1)
    every = np.arange(n)
    rows_N, columns_N = rows_NT[every, first_N], columns_NT[every, first_N]
    place_N2 = place_NT2[every, first_N]
    top_N = (place_N2[:, 0] * (height - rows_N + 1)).astype(np.int64)
    left_N = (place_N2[:, 1] * (width - columns_N + 1)).astype(np.int64)
    boxes_N4 = np.stack([top_N, left_N, rows_N, columns_N], axis=1)
    return np.where(fits_NT.any(axis=1, keepdims=True), boxes_N4, [0, 0, height, width])


def resize_boxes(
    pixels_NCHW: npt.NDArray[np.uint8],
    boxes_N4: npt.NDArray[np.int64],
    flips_N: npt.NDArray[np.bool_],
    size: int,
) -> npt.NDArray[np.uint8]:
    """The boxes as squares (N, C, size, size), some of them mirrored.

    Bilinear where they become larger; averages over areas where they become smaller, so that
    nothing is skipped. The work is shared among as many threads as torch has.

    Args:
        pixels_NCHW: the images.
        boxes_N4: (row, column, rows, columns).
        flips_N: which squares are mirrored left to right.
        size: of the squares, in pixels.
    """
    n, channels = pixels_NCHW.shape[:2]
    out_NCSS = np.empty((n, channels, size, size), np.uint8)

    def resize(places: range) -> None:
        for place in places:
            top, left, rows, columns = boxes_N4[place].tolist()
            way = cv2.INTER_AREA if max(rows, columns) > size else cv2.INTER_LINEAR
            for channel in range(channels):
                square_SS = out_NCSS[place, channel]
                part = pixels_NCHW[place, channel, top : top + rows, left : left + columns]
                cv2.resize(part, (size, size), dst=square_SS, interpolation=way)
                if flips_N[place]:
                    cv2.flip(square_SS, 1, dst=square_SS)

    threads = torch.get_num_threads()
    for _ in _pool(threads).map(resize, (range(first, n, threads) for first in range(threads))):
        pass
    return out_NCSS


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    # Theirs would come on top of ours.
    cv2.setNumThreads(1)
    return ThreadPoolExecutor(threads, thread_name_prefix="augment")
