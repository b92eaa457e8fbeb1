import numpy as np
import pytest
from matplotlib.colors import to_hex

from reslab.evaluation.calibration import calibrate
from reslab.evaluation.canvas import DARK, LIGHT, to_png
from reslab.evaluation.confidence import confidence
from reslab.evaluation.selective import Target
from tests.evaluation.honest import honest


def drawn(n, k, boast=2.5, target=None):
    """The calibration of a net that is surer than it should be."""
    logits_NK, labels_N = honest(n, k)
    return made(boast * logits_NK, labels_N, target or Target("accuracy", 0.9))


def made(logits_NK, labels_N, target):
    return calibrate(
        logits_NK.astype(np.float32), labels_N, target, weights="best", weights_sha256=""
    )


PERFECT = made(20 * np.eye(4)[np.arange(40) % 4], np.arange(40) % 4, Target("accuracy", 0.99))
HOPELESS = made(-5 * np.eye(4)[np.arange(40) % 4], np.arange(40) % 4, Target("coverage", 0.5))
CASES = {
    "usual": drawn(2_000, 10),
    "two classes": drawn(400, 2),
    "a hundred classes": drawn(2_000, 100),
    "tiny": drawn(7, 3, target=Target("coverage", 0.5)),
    "one image": drawn(1, 3, target=Target("coverage", 0.5)),
    "perfect": PERFECT,
    "hopeless": HOPELESS,
}


def legends(figure):
    return [[text.get_text() for text in legend.get_texts()] for legend in figure.legends]


def test_both_panels_show_the_numbers():
    found = CASES["usual"]
    figure = confidence(found)
    reliable, images, accepted = figure.axes
    assert [axes.get_title("left") for axes in figure.axes] == [
        "right in each bin, %",
        "images, of 2,000",
        "right among the accepted, %",
    ]
    for line, part in zip(reliable.lines[1:], (found.before, found.after), strict=True):
        filled = [b for b, count in enumerate(part.counts) if count]
        assert list(line.get_ydata()) == [100 * part.right[b] / part.counts[b] for b in filled]
        assert list(line.get_xdata()) == [100 * part.confidence[b] for b in filled]
    heights = [bar.get_height() for bar in images.patches]
    assert heights == [*found.before.counts, *found.after.counts]
    curve, ring = accepted.lines[:2]
    assert list(curve.get_xdata()) == [100 * n / 2_000 for n in found.curve.accepted]
    assert ring.get_xdata()[0] == 100 * found.chosen.coverage
    assert ring.get_ydata()[0] == 100 * found.chosen.top1


def test_the_errors_and_the_threshold_are_told():
    found = CASES["perfect"]
    assert legends(confidence(found)) == [
        ["as sure as right", "before, ECE 0.0\u202f%", "after, ECE 0.0\u202f%"],
        ["threshold 0: 100.0\u202f% accepted, 100.0\u202f% of them right"],
    ]


def test_the_accuracy_that_was_asked_for_is_a_line_and_a_coverage_is_none():
    asked, share = CASES["usual"], CASES["tiny"]
    assert list(confidence(asked).axes[2].lines[2].get_ydata()) == [90, 90]
    assert len(confidence(share).axes[2].lines) == 2


@pytest.mark.parametrize("case", CASES)
def test_nothing_that_matters_is_outside_its_panel_or_the_picture(case):
    found = CASES[case]
    figure = confidence(found)
    figure.draw_without_rendering()
    reliable, images, accepted = figure.axes
    for line in reliable.lines[1:]:
        assert reliable.get_xlim()[0] <= min(line.get_xdata())
        assert max(line.get_xdata()) <= reliable.get_xlim()[1]
    assert images.get_xlim() == reliable.get_xlim()
    assert images.get_ylim()[1] > max(*found.before.counts, *found.after.counts)
    low, high = accepted.get_ylim()
    assert low <= 100 * found.chosen.interval[0]
    assert low <= accepted.lines[0].get_ydata()[-1] <= 100 < high
    assert all(low <= tick <= 100 for tick in accepted.get_yticks().round(6))
    for legend in figure.legends:
        extent = legend.get_window_extent()
        assert not any(extent.overlaps(axes.get_tightbbox()) for axes in figure.axes)
        assert extent.x0 >= 0 and extent.x1 <= figure.bbox.x1
    names = [axes.title.get_window_extent() for axes in figure.axes]
    assert not any(a.overlaps(b) for a in names for b in names if a is not b)
    to_png(figure)


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_it_wears_the_theme(theme):
    figure = confidence(CASES["usual"], theme=theme)
    colours = [to_hex(line.get_color()) for line in figure.axes[0].lines]
    assert colours == [theme.muted, theme.train, theme.validation]
    assert to_hex(figure.get_facecolor()) == theme.paper
    for legend in figure.legends:
        assert {to_hex(text.get_color()) for text in legend.get_texts()} == {theme.ink}


def test_equal_calibrations_give_equal_bytes():
    assert to_png(confidence(drawn(50, 3))) == to_png(confidence(drawn(50, 3)))
