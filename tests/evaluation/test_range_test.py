import pytest

from reslab.evaluation.canvas import DARK, LIGHT
from reslab.evaluation.range_test import range_test

RATES = [10 ** (-5 + i / 4) for i in range(25)]
SMOOTHED = [2.5 - 0.05 * i for i in range(20)] + [3.0, 9.0, 80.0, 500.0, 9e9]


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_the_fall_is_seen_whatever_the_loss_rises_to(theme):
    figure = range_test(RATES, SMOOTHED, SMOOTHED, 0.01, theme=theme)
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    low, high = axes.get_ylim()
    assert low < min(SMOOTHED) < max(SMOOTHED[:20]) < high < 5
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["a step's batch", "smoothed", "suggested: 0.01"]
    assert axes.lines[2].get_xdata()[0] == 0.01
