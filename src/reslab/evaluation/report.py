"""A run as one HTML page that loads nothing: it reads on a phone, in the dark and on paper.

Numbers are turned into text here, so that the template only places them. All text of users
(class names, titles, notes) reaches the page through jinja's escaping.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure
from PIL import Image

from reslab.evaluation.calibration import Calibration
from reslab.evaluation.canvas import DARK, DPI, LIGHT, THIN, Theme, percent, to_data_uri, to_png
from reslab.evaluation.confidence import confidence
from reslab.evaluation.figures import confusion, curves
from reslab.evaluation.metrics import ClassMetrics, Interval, Metrics
from reslab.evaluation.tiles import Mistake, worst
from reslab.runs.history import EpochRecord
from reslab.wording import counted

_TO = "\u2013"  # the dash between the ends of a range
_NAMED = 3  # confusions told in words below the figure


@dataclass(frozen=True, kw_only=True)
class Result:
    """One set of weights on one split.

    Attributes:
        weights: "best" or "last".
        split: such as "test" or "val".
        metrics: what they reached.
    """

    weights: str
    split: str
    metrics: Metrics


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """Everything that a report tells; each sequence may be empty.

    Attributes:
        title: the page's heading.
        facts: pairs of label and value, shown in this order.
        history: one record an epoch.
        best_epoch: the epoch whose weights are the best; None if there was no choice.
        results: the first on the test split with the best weights makes the headline.
        mistakes: on the headline's split; the 25 surest are shown.
        notes: warnings, one sentence each.
        spec_text: the resolved spec as YAML.
        calibration: of one of the run's sets of weights; None where it was not calibrated.
    """

    title: str
    facts: tuple[tuple[str, str], ...]
    history: tuple[EpochRecord, ...]
    best_epoch: int | None
    results: tuple[Result, ...]
    mistakes: tuple[Mistake, ...]
    notes: tuple[str, ...]
    spec_text: str
    calibration: Calibration | None = None


@dataclass(frozen=True)
class _Picture:
    """A figure in both renditions, its size in CSS pixels and what it shows in words."""

    light: str
    dark: str
    width: int
    height: int
    alt: str


def render_report(data: ReportData) -> str:
    """The whole page as text; equal data give an equal page."""
    head = _headline(data.results)
    names = [c.name for c in head.metrics.per_class] if head else []
    confusions = _tell_confusions(head.metrics) if head else []
    calibration = data.calibration
    sureness = _tell_calibration(calibration) if calibration else []
    environment = Environment(
        loader=PackageLoader("reslab", "evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(count=_count, percent=percent, span=_span)
    return environment.get_template("report.html.j2").render(
        data=data,
        head=head,
        headline=[head, *(r for r in data.results if r is not head and r.split == head.split)]
        if head
        else [],
        curves=_picture(
            lambda theme: curves(data.history, theme=theme, best_epoch=data.best_epoch),
            _tell_curves(data.history, data.best_epoch),
        )
        if data.history
        else None,
        confusion=_picture(
            lambda theme: confusion(head.metrics.confusion_KK, names, theme=theme),
            ". ".join([f"Confusion matrix of {len(names)} classes", *confusions[:1]]) + ".",
        )
        if head
        else None,
        confusions=confusions,
        confidence=_picture(
            lambda theme: confidence(calibration, theme=theme),
            "Accuracy over confidence, and over the share of images accepted. "
            + " ".join(sureness),
        )
        if calibration
        else None,
        sureness=sureness,
        strips=_strips(head.metrics.per_class) if head else [],
        mistakes=[(m, *_pixels(m)) for m in worst(data.mistakes)],
        light=LIGHT,
        dark=DARK,
        split_names={"test": "test", "val": "validation", "fold": "held-out"},
    )


def _headline(results: Sequence[Result]) -> Result | None:
    """The test split before others, the best weights before others, the earlier before later."""
    return min(results, key=lambda r: (r.split != "test", r.weights != "best"), default=None)


def _picture(draw: Callable[[Theme], Figure], alt: str) -> _Picture:
    light, dark = (to_png(draw(theme)) for theme in (LIGHT, DARK))
    width, height = struct.unpack(">II", light[16:24])  # where a PNG tells its size
    return _Picture(
        to_data_uri(light), to_data_uri(dark), width * 96 // DPI, height * 96 // DPI, alt
    )


def _pixels(mistake: Mistake) -> tuple[str, bool]:
    """The image alone as a data URI, and whether it is so small that its pixels should show."""
    pixels_CHW = mistake.pixels_CHW
    if len(pixels_CHW) >= 3:
        image = Image.fromarray(np.ascontiguousarray(np.moveaxis(pixels_CHW[:3], 0, -1)))
    else:
        image = Image.fromarray(np.ascontiguousarray(pixels_CHW[0]))
    stream = io.BytesIO()
    image.save(stream, format="PNG", optimize=True)
    return to_data_uri(stream.getvalue()), max(image.size) < 100


def _tell_curves(history: Sequence[EpochRecord], best_epoch: int | None) -> str:
    """What the three panels show, for those who cannot see them."""
    if not history:
        return ""
    first, last = history[0], history[-1]
    told = [f"Loss, accuracy and learning rate over {counted(len(history), 'epoch')}."]
    if len(history) > 1:
        told.append(f"Training loss went from {first.train_loss:.3g} to {last.train_loss:.3g}.")
    told.append(f"Training accuracy ended at {percent(last.train_accuracy)}.")
    if last.val_accuracy is not None:
        told.append(f"Validation accuracy ended at {percent(last.val_accuracy)}.")
    for record in history:
        if record.epoch == best_epoch and record.val_accuracy is not None:
            told.append(f"The best epoch, {best_epoch}, had {percent(record.val_accuracy)}.")
    return " ".join(told)


def _tell_confusions(metrics: Metrics) -> list[str]:
    """The most frequent confusions by share of the true class, the gravest first."""
    names = [c.name for c in metrics.per_class]
    images_K1 = metrics.confusion_KK.sum(axis=1, keepdims=True)
    share_KK = metrics.confusion_KK / np.maximum(images_K1, 1)
    np.fill_diagonal(share_KK, 0)
    told = []
    for place in np.argsort(-share_KK, axis=None, kind="stable")[:_NAMED]:
        true, predicted = divmod(int(place), len(names))
        if share_KK[true, predicted] > 0:
            hits = _count(int(metrics.confusion_KK[true, predicted]))
            of = _count(int(images_K1[true, 0]))
            told.append(f"{names[true]} taken for {names[predicted]}: {hits} of {of}")
    return told


def _tell_calibration(found: Calibration) -> list[str]:
    """Temperature and threshold, a sentence each."""
    chosen = found.chosen
    return [
        f"With logits divided by {found.temperature:.4g}, fitted on {_count(found.n)} validation "
        f"images, the calibration error (ECE) of the {found.weights} weights is "
        f"{percent(found.after.ece)} in place of {percent(found.before.ece)}; of each half of "
        f"them with the temperature of the other half it is {percent(found.cross_fitted_ece)}.",
        f"Where the highest probability is below {found.threshold:.4g} the answer is "
        f"“don't know”: {percent(chosen.coverage)} of these images are answered, "
        f"{percent(chosen.top1 or 0.0)} of those rightly (95{THIN}% interval "
        f"{_span(chosen.interval)}, n = {_count(chosen.accepted)}).",
    ]


def _strips(per_class: Sequence[ClassMetrics]) -> list[tuple[float, float, float] | None]:
    """Each recall with its interval, as percent of the width of one scale for all classes.

    The scale ends at 1 and starts where the lowest interval does, for classes differ in their
    last percents. None where a class has no image.
    """
    known = [c for c in per_class if c.support]
    low = min((c.recall_interval[0] for c in known), default=0.0)
    scale = 100 / max(1 - low, 1e-9)
    return [
        (
            (c.recall_interval[0] - low) * scale,
            (c.recall - low) * scale,
            (c.recall_interval[1] - low) * scale,
        )
        if c.support
        else None
        for c in per_class
    ]


def _count(n: int) -> str:
    return f"{n:,}".replace(",", THIN)


def _span(interval: Interval, digits: int = 1) -> str:
    return f"{100 * interval[0]:.{digits}f}{_TO}{100 * interval[1]:.{digits}f}{THIN}%"
