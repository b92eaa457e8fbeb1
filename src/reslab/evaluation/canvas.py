"""What every picture of reslab shares: colours, an empty figure, text and the way to a file.

Everything is drawn on figures of its own, never through pyplot: no global state, no window, no
backend to choose, safe in threads. Lengths are in inches; at the 96 CSS pixels an inch of the
report, text is 12 pixels high.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from reslab.errors import UserError
from reslab.runs.files import check_file
from reslab.writing import write_atomically

DPI = 192  # two dots a CSS pixel: sharp on the screens of today
TEXT = 9.0  # points
THIN = "\u202f"  # no-break thin space: between digits and before the percent sign


@dataclass(frozen=True, kw_only=True)
class Theme:
    """The colours of figures and report, as ``#rrggbb``.

    Whatever is read (``ink``, ``muted``, ``train``, ``validation``) reaches 4.5:1 on ``paper``.
    Blue against orange is told apart under every common colour blindness.

    Attributes:
        paper: the ground.
        ink: text.
        muted: ticks and captions.
        rule: grid and hairlines.
        train: the training split.
        validation: the validation split.
        hit: a class that is always recognised.
        miss: the most frequent mistake.
    """

    paper: str
    ink: str
    muted: str
    rule: str
    train: str
    validation: str
    hit: str
    miss: str


LIGHT = Theme(
    paper="#fcfbf8",
    ink="#1f1d1a",
    muted="#5f5b54",
    rule="#dedad0",
    train="#1f67a3",
    validation="#b04a00",
    hit="#b5d0e8",
    miss="#b04a00",
)
DARK = Theme(
    paper="#16171a",
    ink="#e8e6e1",
    muted="#a5a29b",
    rule="#35373c",
    train="#74b4ea",
    validation="#f0a050",
    hit="#27506f",
    miss="#f0a050",
)


def new_figure(
    width: float,
    height: float,
    theme: Theme,
    layout: Literal["constrained", "compressed"] | None = None,
) -> Figure:
    """An empty figure, in inches, on its own Agg canvas."""
    figure = Figure((width, height), facecolor=theme.paper, layout=layout)
    FigureCanvasAgg(figure)
    return figure


def message(text: str, theme: Theme) -> Figure:
    """A figure that says why there is nothing to see."""
    figure = new_figure(4.6, 0.9, theme)
    figure.text(0.5, 0.5, text, ha="center", va="center", fontsize=TEXT + 1, color=theme.muted)
    return figure


def dress(axes: Axes, theme: Theme) -> None:
    """Give axes the theme's colours and a grid in place of a frame."""
    axes.set_facecolor(theme.paper)
    axes.grid(color=theme.rule, lw=0.7)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    axes.tick_params(which="both", length=0, labelsize=TEXT, labelcolor=theme.muted)


def shorten(name: str, length: int) -> str:
    """The name in at most ``length`` letters, the cut marked by an ellipsis."""
    return name if len(name) <= length else name[: length - 1].rstrip() + "…"


def percent(fraction: float, digits: int = 1) -> str:
    """Rounded, such as 97.1 %, but never up to 100 % where something is missing."""
    rounded = round(100 * fraction, digits)
    if rounded == 100 and fraction < 1:
        rounded = 100 - 10**-digits
    return f"{rounded:.{digits}f}{THIN}%"


def contrast(one: Any, other: Any) -> float:
    """WCAG's contrast ratio of two opaque colours, 1 to 21."""

    def luminance(colour: Any) -> float:
        rgb_3 = np.asarray(to_rgb(colour))
        linear_3 = np.where(rgb_3 <= 0.04045, rgb_3 / 12.92, ((rgb_3 + 0.055) / 1.055) ** 2.4)
        return float(linear_3 @ (0.2126, 0.7152, 0.0722))

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def to_png(figure: Figure) -> bytes:
    """The figure as PNG: equal figures give equal bytes, as no date or version is in it."""
    stream = io.BytesIO()
    figure.savefig(
        stream,
        format="png",
        dpi=DPI,
        facecolor=figure.get_facecolor(),
        bbox_inches="tight",
        pad_inches=0.08,
        metadata={"Software": None},
    )
    return stream.getvalue()


def to_data_uri(png: bytes) -> str:
    """A PNG as a ``data:`` address, for pages that load nothing."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def save(figure: Figure, path: str | Path) -> None:
    """Write the figure as PNG; whoever reads ``path`` meanwhile sees the old or the new one.

    Raises:
        UserError: where ``path`` does not end in .png or cannot be written.
    """
    check_picture(Path(path))
    write_atomically(Path(path), to_png(figure))


def check_picture(path: Path) -> None:
    """Refuse a place for a picture, before any work is done for it.

    Raises:
        UserError: as ``save``.
    """
    if path.suffix.lower() != ".png":
        raise UserError(
            "the picture would not be what its name says",
            expected="a name that ends in .png",
            received=repr(path.name),
        )
    check_file(path)
