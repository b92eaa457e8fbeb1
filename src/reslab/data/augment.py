"""Augmentation: pure functions over whole batches, each sample with its own draw.

Shape suffixes: ``N`` images, ``C`` channels, ``H`` and ``W`` rows and columns.
Pixels are uint8 throughout, so that nothing is rounded on the way.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torchvision.transforms import v2

from reslab.data.colour import change_colours, draw_factors
from reslab.data.resized_crop import draw_boxes, resize_boxes

Pixels = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]


def crop_and_flip(
    pixels_NCHW: Pixels,
    *,
    pad: int,
    level: int = 0,
    size: int,
    offsets_N2: Integers,
    flips_N: Booleans,
) -> Pixels:
    """Pad, cut a square out of each image, mirror some: one pass over the pixels.

    Args:
        pixels_NCHW: the images.
        pad: pixels added on each side.
        level: of the added pixels, in all channels.
        size: side of the square, at most H + 2 pad and W + 2 pad.
        offsets_N2: (row, column) of each square's upper left corner in the padded image.
        flips_N: which squares are mirrored left to right.

    Returns:
        uint8 (N, C, size, size), C-contiguous.

    Source: He et al. 2015, section 4.2 (4 pixels, 32x32 crop, horizontal flip).
    """
    n, channels, height, width = pixels_NCHW.shape
    padded = np.full((n, channels, height + 2 * pad, width + 2 * pad), level, np.uint8)
    padded[:, :, pad : pad + height, pad : pad + width] = pixels_NCHW
    # Every square is a view; only the chosen ones are copied, row by row.
    squares = sliding_window_view(padded, (size, size), axis=(2, 3))
    cropped_NCSS = squares[np.arange(n), :, offsets_N2[:, 0], offsets_N2[:, 1]]
    mirrored = np.flatnonzero(flips_N)
    cropped_NCSS[mirrored] = cropped_NCSS[mirrored][..., ::-1]
    return cropped_NCSS


def trivial_augment(pixels_NCHW: Pixels, seed: int) -> Pixels:
    """One of 14 changes for each image, with a strength of its own.

    torch's own generator is left as it was.

    Args:
        pixels_NCHW: the images.
        seed: of all draws.

    Source: Müller and Hutter, arXiv 2103.10158; torchvision's implementation.
    """
    policy = v2.TrivialAugmentWide()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        changed = [policy(image_CHW) for image_CHW in torch.from_numpy(pixels_NCHW)]
    return torch.stack(changed).numpy()


def erase(pixels_NCHW: Pixels, *, first_N2: Integers, sizes_N2: Integers, fill_C: Pixels) -> Pixels:
    """Grey out one rectangle of each image; where it leaves the image it is cut off.

    Args:
        pixels_NCHW: the images.
        first_N2: (row, column) of each rectangle's upper left corner.
        sizes_N2: its rows and columns; 0 hides nothing.
        fill_C: what each channel is filled with.
    """
    height, width = pixels_NCHW.shape[2:]
    rows_NH = _within(np.arange(height), first_N2[:, :1], sizes_N2[:, :1])
    columns_NW = _within(np.arange(width), first_N2[:, 1:], sizes_N2[:, 1:])
    hidden_N1HW = (rows_NH[:, :, None] & columns_NW[:, None, :])[:, None]
    return np.where(hidden_N1HW, fill_C[:, None, None], pixels_NCHW)


def draw_rectangles(
    rng: np.random.Generator, n: int, *, size: int, probability: float
) -> tuple[Integers, Integers]:
    """Corners and sizes (N, 2) of random erasing: 2 to 33 % of the area, sides 3:10 to 10:3.

    Those of images that are spared have no size. A rectangle that would be longer than the
    image is as long as the image.

    Source: Zhong et al., arXiv 1708.04896, with the ranges of torchvision.
    """
    spared_N = rng.random(n) >= probability
    area_N = rng.uniform(0.02, 0.33, n) * size**2
    aspect_N = np.exp(rng.uniform(np.log(0.3), np.log(10 / 3), n))
    sides_N2 = np.stack([np.sqrt(area_N * aspect_N), np.sqrt(area_N / aspect_N)], axis=1)
    sizes_N2 = np.clip(np.rint(sides_N2).astype(np.int64), 1, size)
    first_N2 = rng.integers(0, size - sizes_N2 + 1)
    return first_N2, np.where(spared_N[:, None], 0, sizes_N2)


def _within(line: Integers, first_N1: Integers, sides_N1: Integers) -> Booleans:
    inside: Booleans = (line >= first_N1) & (line < first_N1 + sides_N1)
    return inside


def augment(
    pixels_NCHW: Pixels,
    rng: np.random.Generator,
    *,
    pad: int,
    level: int = 0,
    crop: int,
    flip: bool,
    trivial: bool = False,
    cutout_side: int = 0,
    erasing: float = 0.0,
    resized: float = 1.0,
    colour: float = 0.0,
    fill_C: Pixels,
) -> Pixels:
    """Draw for every sample and apply: crop, flip, colours, TrivialAugment, cutout, erasing.

    The same ``rng`` state, the same batch. Cutout (DeVries and Taylor, arXiv 1708.04552) is the
    erasing of a square whose centre may lie anywhere, so that a part of it may lie outside.

    Every draw is made whether it is used or not, so that switching one augmentation off
    leaves the draws of the others as they were.
    """
    n, _, height, width = pixels_NCHW.shape
    offsets_N2 = np.stack(
        [
            rng.integers(0, height + 2 * pad - crop + 1, n),
            rng.integers(0, width + 2 * pad - crop + 1, n),
        ],
        axis=1,
    )
    flips_N: Booleans = np.logical_and(rng.random(n) < 0.5, flip)
    centres_N2 = rng.integers(0, crop, (n, 2))
    # Drawn after those above, which were there first and stay what they were.
    first_N2, sizes_N2 = draw_rectangles(rng, n, size=crop, probability=erasing)
    seed = int(rng.integers(2**63))
    boxes_N4 = draw_boxes(rng, n, height=height, width=width, least=resized)
    factors_N3 = draw_factors(rng, n, colour)
    if resized < 1:
        # In place of the plain crop: a part of any size, made as large as that.
        pixels_NCHW = resize_boxes(pixels_NCHW, boxes_N4, flips_N, crop)
    elif pad or flip or crop != height or crop != width:
        pixels_NCHW = crop_and_flip(
            pixels_NCHW,
            pad=pad,
            level=level,
            size=crop,
            offsets_N2=offsets_N2,
            flips_N=flips_N,
        )
    if colour:
        pixels_NCHW = change_colours(pixels_NCHW, factors_N3)
    if trivial:
        pixels_NCHW = trivial_augment(pixels_NCHW, seed)
    if cutout_side:
        pixels_NCHW = erase(
            pixels_NCHW,
            first_N2=centres_N2 - cutout_side // 2,
            sizes_N2=np.full((n, 2), cutout_side),
            fill_C=fill_C,
        )
    if erasing:
        pixels_NCHW = erase(pixels_NCHW, first_N2=first_N2, sizes_N2=sizes_N2, fill_C=fill_C)
    return pixels_NCHW
