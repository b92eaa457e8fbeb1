"""The picture of a range test of the learning rate."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from reslab.evaluation.canvas import LIGHT, TEXT, Theme, dress, new_figure


def range_test(
    rates: Sequence[float],
    losses: Sequence[float],
    smoothed: Sequence[float],
    suggestion: float,
    *,
    theme: Theme = LIGHT,
) -> Figure:
    """Loss of each step over its rate, with the rate that is suggested.

    Args:
        rates: of the steps, rising.
        losses: of their batches.
        smoothed: a running average of the losses.
        suggestion: the rate to mark.
        theme: the colours.
    """
    figure = new_figure(5.2, 3.4, theme, layout="constrained")
    axes = figure.subplots()
    dress(axes, theme)
    axes.plot(rates, losses, ".", color=theme.muted, ms=3, label="a step's batch")
    axes.plot(rates, smoothed, color=theme.validation, lw=1.8, label="smoothed")
    axes.axvline(
        suggestion, color=theme.train, lw=1.2, ls=":", label=f"suggested: {suggestion:.2g}"
    )
    axes.set_xscale("log")
    # What it rises to at the end says nothing, and would flatten the rest.
    low, high = min(*smoothed, *losses), max(smoothed[: len(smoothed) // 2])
    room = 0.1 * max(high - low, 0.1)
    axes.set_ylim(low - room, high + 4 * room)
    axes.set_title("loss", loc="left", fontsize=TEXT + 1, color=theme.ink, pad=5)
    axes.set_xlabel("learning rate", fontsize=TEXT, color=theme.muted)
    figure.legend(
        loc="outside upper left", ncols=3, frameon=False, fontsize=TEXT, labelcolor=theme.ink
    )
    return figure
