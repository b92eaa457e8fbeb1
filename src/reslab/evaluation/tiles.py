"""Grids of images: the worst mistakes, and samples of a data set.

Shape suffixes: ``N`` images, ``C`` channels, ``H`` and ``W`` rows and columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from reslab.evaluation.canvas import LIGHT, TEXT, Theme, message, new_figure, percent, shorten

WORST = 25
_TILE = 1.25  # inches


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A wrongly classified image.

    Attributes:
        pixels_CHW: uint8, grey (C = 1) or colour (C = 3).
        true: name of the right class.
        predicted: name of the class taken for it.
        probability: that the net gave to ``predicted``, a fraction.
    """

    pixels_CHW: npt.NDArray[np.uint8]
    true: str
    predicted: str
    probability: float


def worst(items: Sequence[Mistake], count: int = WORST) -> tuple[Mistake, ...]:
    """The ``count`` mistakes made with most confidence, the surest first."""
    return tuple(sorted(items, key=lambda item: -item.probability)[:count])


def mistakes(items: Sequence[Mistake], *, theme: Theme = LIGHT) -> Figure:
    """The 25 mistakes made with most confidence, the surest first, five in a row."""
    if not items:
        return message("There was no mistake to show.", theme)
    shown = worst(items)
    captions = [
        f"{shorten(m.true, 16)} →\n{shorten(m.predicted, 13)}, {percent(m.probability, 0)}"
        for m in shown
    ]
    return _tiles([m.pixels_CHW for m in shown], captions, 5, theme)


def samples(
    pixels_NCHW: npt.NDArray[np.uint8],
    labels: Sequence[int] | npt.NDArray[np.int64],
    classes: Sequence[str],
    *,
    theme: Theme = LIGHT,
) -> Figure:
    """All given images, in their order, each above the name of its class.

    Args:
        pixels_NCHW: uint8, grey or colour.
        labels: N positions in ``classes``.
        classes: the names.
        theme: the colours.
    """
    if not len(pixels_NCHW):
        return message("There is no image to show.", theme)
    captions = [shorten(classes[int(label)], 17) for label in labels]
    columns = min(max(math.ceil(math.sqrt(len(captions))), 4), 10)
    return _tiles(list(pixels_NCHW), captions, columns, theme)


def _tiles(
    images: Sequence[npt.NDArray[np.uint8]], captions: Sequence[str], columns: int, theme: Theme
) -> Figure:
    """Images (C, H, W) in rows of ``columns``, each above its caption.

    Placed by hand: a layout engine takes seconds for a hundred axes.
    """
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    lines = 1 + max(caption.count("\n") for caption in captions)
    caption_height = 0.16 * lines + 0.14
    width, height = columns * _TILE, rows * (_TILE + caption_height)
    figure = new_figure(width, height, theme)
    for i, (pixels_CHW, caption) in enumerate(zip(images, captions, strict=True)):
        row, column = divmod(i, columns)
        left = column * _TILE + 0.06
        bottom = height - row * (_TILE + caption_height) - _TILE
        axes = figure.add_axes(
            (left / width, bottom / height, (_TILE - 0.12) / width, (_TILE - 0.06) / height)
        )
        axes.set_axis_off()
        axes.set_anchor("S")
        # Of more than three channels the first three are shown, of two the first.
        shown_HWC = np.moveaxis(pixels_CHW[: 3 if len(pixels_CHW) >= 3 else 1], 0, -1)
        axes.imshow(shown_HWC, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.text(
            0.5,
            -4 / (72 * _TILE),
            caption,
            transform=axes.transAxes,
            ha="center",
            va="top",
            fontsize=TEXT - 1,
            color=theme.ink,
            parse_math=False,
        )
    return figure
