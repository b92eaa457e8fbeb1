"""The picture of a calibration: are probabilities what they say, and what does doubt cost?"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from reslab.evaluation.calibration import Calibration
from reslab.evaluation.canvas import LIGHT, TEXT, Theme, dress, new_figure, percent
from reslab.evaluation.metrics import wilson_interval
from reslab.evaluation.reliability import Reliability

_FEW = 20  # accepted images below which a point of the curve does not stretch the panel


def confidence(calibration: Calibration, *, theme: Theme = LIGHT) -> Figure:
    """Reliability before and after scaling over the images of each bin; below, what is accepted.

    Thin lines are 95 % Wilson intervals. The ring is the threshold that was chosen, the dotted
    line beside it the accuracy that it was chosen for.

    Args:
        calibration: of the validation images.
        theme: the colours.
    """
    figure = new_figure(4.8, 7.6, theme, layout="constrained")
    reliable, images, accepted = figure.subplots(3, height_ratios=(3.4, 1.1, 2.5))
    for axes in (reliable, images, accepted):
        dress(axes, theme)
    lines = _draw_reliability(reliable, calibration, theme)
    _draw_counts(images, calibration, theme)
    images.sharex(reliable)
    reliable.tick_params(labelbottom=False)
    ring = _draw_curve(accepted, calibration, theme)
    text: dict[str, Any] = {"frameon": False, "fontsize": TEXT, "labelcolor": theme.ink}
    text |= {"borderaxespad": 0, "columnspacing": 1.2, "handletextpad": 0.5}
    figure.legend(handles=lines, loc="outside upper left", ncols=3, **text)
    figure.legend(handles=ring, loc="outside lower left", **text)
    return figure


def _edges(part: Reliability) -> list[float]:
    bins = len(part.counts)
    return [100 * b / bins for b in range(bins + 1)]


def _title(axes: Axes, text: str, theme: Theme) -> None:
    axes.set_title(text, loc="left", fontsize=TEXT + 1, color=theme.ink, pad=5)


def _draw_reliability(axes: Axes, calibration: Calibration, theme: Theme) -> list[Line2D]:
    _title(axes, "right in each bin, %", theme)
    lines = axes.plot((0, 100), (0, 100), color=theme.muted, lw=1, ls=":", label="as sure as right")
    # Rings around dots: both are seen where scaling changed nothing.
    first: dict[str, Any] = {"color": theme.train, "ls": (0, (3, 1.2)), "lw": 1.4, "mfc": "none"}
    second: dict[str, Any] = {"color": theme.validation, "ls": "-", "lw": 1.8, "ms": 4}
    parts = (calibration.before, calibration.after)
    for part, name, style in zip(parts, ("before", "after"), (first, second), strict=True):
        filled = [b for b, count in enumerate(part.counts) if count]
        xs = [100 * part.confidence[b] for b in filled]
        ys = [100 * part.right[b] / part.counts[b] for b in filled]
        label = f"{name}, ECE {percent(part.ece)}"
        lines += axes.plot(xs, ys, marker="o", label=label, clip_on=False, zorder=3, **style)
        if part is calibration.after:
            ends = [wilson_interval(part.right[b], part.counts[b]) for b in filled]
            lows, highs = ([100 * end for end in side] for side in zip(*ends, strict=True))
            axes.vlines(xs, lows, highs, color=theme.validation, lw=1, alpha=0.5)
    axes.set_ylim(0, 100)
    # Half the scale at least: a net that is always sure would fill it with a single bin.
    lowest = min(b for part in parts for b, count in enumerate(part.counts) if count)
    axes.set_xlim(min(_edges(parts[0])[lowest], 50), 100)
    return lines


def _draw_counts(axes: Axes, calibration: Calibration, theme: Theme) -> None:
    _title(axes, f"images, of {calibration.n:,}", theme)
    edges = _edges(calibration.before)
    width = 0.38 * edges[1]
    middles = [(low + high) / 2 for low, high in pairwise(edges)]
    counts = (calibration.before.counts, calibration.after.counts)
    for side, count_B, colour in zip((-1, 1), counts, (theme.train, theme.validation), strict=True):
        axes.bar([m + side * width / 2 for m in middles], count_B, width, color=colour)
    # Most images are in the last bin: on a linear scale the others would not be seen.
    axes.set_yscale("log")
    most = max(map(max, counts))
    axes.set_ylim(0.6, 2 * most)
    ticks = [10**p for p in range(len(str(most)))] if most >= 10 else sorted({1, most})
    axes.set_yticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("highest probability, %", fontsize=TEXT, color=theme.muted)


def _draw_curve(axes: Axes, calibration: Calibration, theme: Theme) -> list[Line2D]:
    curve, chosen = calibration.curve, calibration.chosen
    _title(axes, "right among the accepted, %", theme)
    xs = [100 * accepted / curve.n for accepted in curve.accepted]
    ys = [100 * right / n for right, n in zip(curve.right, curve.accepted, strict=True)]
    axes.plot(xs, ys, color=theme.validation, lw=1.8, zorder=3)
    x, top1 = 100 * chosen.coverage, chosen.top1 or 0.0
    low, high = (100 * end for end in chosen.interval)
    # Not clipped: the chosen point is often at the panel's right or upper edge.
    axes.vlines(x, low, high, color=theme.validation, lw=1, alpha=0.5, clip_on=False)
    label = (
        f"threshold {calibration.threshold:.4g}: {percent(chosen.coverage)} accepted, "
        f"{percent(top1)} of them right"
    )
    place: dict[str, Any] = {"ls": "", "marker": "o", "clip_on": False, "zorder": 4}
    ring: dict[str, Any] = {"mfc": "none", "mec": theme.validation, "mew": 1.6, "ms": 9}
    lines = axes.plot(x, 100 * top1, label=label, **place, **ring)
    if calibration.target.kind == "accuracy":
        axes.axhline(100 * calibration.target.share, color=theme.muted, lw=1, ls=":")
    # The surest few tell next to nothing, and one mistake among them would flatten the rest.
    steady = [v for v, n in zip(ys, curve.accepted, strict=True) if n >= min(_FEW, curve.n)]
    floor = min([*steady, low, 99.0])
    room = 0.06 * (100 - floor)
    axes.set_ylim(floor - room, 100 + room)
    axes.set_xlim(0, 100)
    ticks = MaxNLocator(nbins=6, steps=[1, 2, 5, 10]).tick_values(floor, 100)
    axes.set_yticks([t for t in ticks if floor - room <= t < 100 + room / 2])
    axes.set_xlabel("accepted, % of the images", fontsize=TEXT, color=theme.muted)
    return lines
