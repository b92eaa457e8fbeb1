"""Pictures of a run: its curves and its confusions; grids of images are in ``tiles``.

Class names are drawn as they are (``parse_math=False``), since a ``$`` in the name of a folder
is not a formula.

Shape suffix: ``K`` classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reslab.evaluation.canvas import (
    LIGHT,
    TEXT,
    Theme,
    contrast,
    dress,
    message,
    new_figure,
    percent,
    shorten,
)
from reslab.runs.history import EpochRecord

_COUNTED = 20  # classes up to which cells carry their counts
_LETTERS = 16  # of a class name, the rest becomes an ellipsis
_DOTTED = 30  # epochs up to which each has its marker


def curves(
    history: Sequence[EpochRecord], *, theme: Theme = LIGHT, best_epoch: int | None
) -> Figure:
    """Loss, accuracy in percent and learning rate over the epochs, in three panels.

    Args:
        history: one record an epoch; validation may be missing in any of them.
        theme: the colours.
        best_epoch: the epoch to mark; None, or one not in ``history``, marks nothing.
    """
    if not history:
        return message("No epoch has ended yet.", theme)
    figure = new_figure(4.6, 5.9, theme, layout="constrained")
    panels: list[Axes] = list(figure.subplots(3, sharex=True, height_ratios=(3, 3, 2)))
    loss, accuracy, rate = panels
    for axes, title in zip(panels, ("loss", "accuracy, %", "learning rate"), strict=True):
        dress(axes, theme)
        axes.set_title(title, loc="left", fontsize=TEXT + 1, color=theme.ink, pad=5)
        axes.margins(y=0.08)

    epochs = [r.epoch for r in history]
    marker = "o" if len(history) <= _DOTTED else ""
    train: dict[str, Any] = {"color": theme.train, "ls": (0, (3, 1.2)), "lw": 1.4}
    valid: dict[str, Any] = {"color": theme.validation, "ls": "-", "lw": 1.8}
    train |= {"marker": marker, "ms": 3.5}
    valid |= {"marker": marker, "ms": 4}
    handles = loss.plot(epochs, [r.train_loss for r in history], label="train", **train)
    accuracy.plot(epochs, [100 * r.train_accuracy for r in history], **train)
    losses = [(r.epoch, r.val_loss) for r in history if r.val_loss is not None]
    accuracies = [(r.epoch, 100 * r.val_accuracy) for r in history if r.val_accuracy is not None]
    if losses:
        handles += loss.plot(*zip(*losses, strict=True), label="validation", **valid)
    if accuracies:
        accuracy.plot(*zip(*accuracies, strict=True), **valid)
    # Head-room for the curve's own width, yet no tick beyond what an accuracy can be.
    accuracy.set_ylim(top=min(accuracy.get_ylim()[1], 101.5))
    rates = [r.learning_rate for r in history]
    rate.plot(epochs, rates, color=theme.muted, lw=1.4, marker=marker, ms=3)
    # A schedule of steps (few values, decades apart) shows its lower steps on a log scale
    # only; a smooth one that ends near zero would be bent out of shape by it.
    if min(rates) > 0 and max(rates) >= 50 * min(rates) and 2 * len(set(rates)) <= len(rates):
        rate.set_yscale("log")
    elif max(rates) > 0:
        rate.set_ylim(bottom=-0.03 * max(rates))
    rate.set_xlabel("epoch", fontsize=TEXT, color=theme.muted)
    rate.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    if len(history) == 1:
        rate.set_xlim(epochs[0] - 1, epochs[0] + 1)
        rate.set_xticks(epochs)

    if best_epoch in epochs:
        lines = [a.axvline(best_epoch, color=theme.muted, lw=1, ls=":", zorder=1) for a in panels]
        lines[0].set_label(f"best epoch {best_epoch}")
        handles.append(lines[0])
        # Not clipped: the best epoch is often at the panel's upper or right edge.
        ring: dict[str, Any] = {"mfc": "none", "mec": theme.validation, "mew": 1.6, "ms": 10}
        for epoch, value in accuracies:
            if epoch == best_epoch:
                accuracy.plot(epoch, value, "o", clip_on=False, **ring)
    figure.legend(
        handles=handles,
        loc="outside upper left",
        ncols=3,
        frameon=False,
        fontsize=TEXT,
        labelcolor=theme.ink,
        borderaxespad=0,
        columnspacing=1.4,
    )
    return figure


def confusion(
    confusion_KK: npt.NDArray[np.int64], classes: Sequence[str], *, theme: Theme = LIGHT
) -> Figure:
    """Which class is taken for which: rows are true, columns predicted, colours row shares.

    Two colour scales, so that a few percent of mistakes are not lost beside a diagonal of
    ninety: the diagonal goes pale to blue with the recall, the mistakes pale to orange up to
    the most frequent one, by square root. Up to 20 classes the cells carry counts.

    Args:
        confusion_KK: counts.
        classes: the K names, in the order of rows and columns.
        theme: the colours.
    """
    k = len(classes)
    share_KK = confusion_KK / np.maximum(confusion_KK.sum(axis=1, keepdims=True), 1)
    diagonal = np.arange(k)
    mistakes_KK = share_KK.copy()
    mistakes_KK[diagonal, diagonal] = 0
    # The floor keeps a single mistake in a thousand from looking like a catastrophe.
    most = max(float(mistakes_KK.max()), 0.05)
    norm = PowerNorm(0.5, vmin=0, vmax=most)
    miss = LinearSegmentedColormap.from_list("miss", [theme.paper, theme.miss])
    hit = LinearSegmentedColormap.from_list("hit", [theme.paper, theme.hit])
    colours_KK4 = miss(norm(mistakes_KK))
    colours_KK4[diagonal, diagonal] = hit(share_KK[diagonal, diagonal])

    counted = k <= _COUNTED
    cell = min(max(3.4 / k, 0.34), 0.9) if counted else 5.2 / k
    # Room for the longest name beside and below the cells; what is left over is cut on saving.
    names = 0.08 * min(max(map(len, classes)), _LETTERS)
    figure = new_figure(k * cell + names + 0.7, k * cell + names + 1.5, theme, "compressed")
    axes = figure.subplots()
    dress(axes, theme)
    axes.grid(visible=False)
    axes.spines[:].set(visible=True, color=theme.rule)
    axes.imshow(colours_KK4, interpolation="nearest")
    _write_names(axes, classes, cell, theme)
    if counted:
        axes.set_xticks(np.arange(0.5, k - 1), minor=True)
        axes.set_yticks(np.arange(0.5, k - 1), minor=True)
        axes.grid(which="minor", color=theme.rule, lw=0.8)
        _write_counts(axes, confusion_KK, colours_KK4, cell)
    bar = figure.colorbar(
        ScalarMappable(norm, miss), ax=axes, location="top", shrink=0.9, aspect=30, pad=0.03
    )
    ticks = (0, most / 4, most)
    bar.set_ticks(ticks, labels=[f"{percent(t, int(0 < t < 0.1))}" for t in ticks])
    bar.ax.tick_params(labelsize=TEXT - 1, labelcolor=theme.muted, length=0)
    bar.set_label("mistakes, share of the true class", fontsize=TEXT, color=theme.muted)
    bar.outline.set_visible(False)
    return figure


def _write_names(axes: Axes, classes: Sequence[str], cell: float, theme: Theme) -> None:
    """Name rows and columns: level where names fit the cells, else turned, else thinned too."""
    k = len(classes)
    every = math.ceil(k / 34)
    places = range(0, k, every)
    names = [shorten(classes[i], _LETTERS) for i in places]
    if max(map(len, names)) * 0.075 <= cell:
        angle, towards, middle = 0, "center", "top"
    elif k <= _COUNTED:
        angle, towards, middle = 45, "right", "top"
    else:
        angle, towards, middle = 90, "right", "center"
    size = TEXT if k <= _COUNTED else TEXT - 1
    axes.set_yticks(places, names, fontsize=size, parse_math=False)
    axes.set_xticks(places, names, fontsize=size, parse_math=False)
    for label in axes.get_xticklabels():
        label.set(rotation=angle, ha=towards, va=middle)
        label.set_rotation_mode("anchor" if angle else "default")
    axes.set_xlabel("predicted", fontsize=TEXT, color=theme.muted)
    axes.set_ylabel("true", fontsize=TEXT, color=theme.muted)


def _write_counts(
    axes: Axes,
    confusion_KK: npt.NDArray[np.int64],
    colours_KK4: npt.NDArray[np.float64],
    cell: float,
) -> None:
    """Write all counts but the zeros beside the diagonal, whose absence is easier to read."""
    digits = len(str(confusion_KK.max()))
    size = min(TEXT, 0.92 * 72 * cell / (0.64 * digits))
    for (row, column), count in np.ndenumerate(confusion_KK):
        if count or row == column:
            ground = colours_KK4[row, column]
            # Of black and white one always reaches 4.5:1; of a theme's two colours maybe none.
            ink = max("#000000", "#ffffff", key=lambda colour: contrast(colour, ground))
            axes.text(column, row, str(count), ha="center", va="center", fontsize=size, color=ink)
