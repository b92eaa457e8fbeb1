from itertools import pairwise

import numpy as np
import pytest
from matplotlib.colors import to_hex

from reslab.evaluation.canvas import DARK, LIGHT, contrast, to_png
from reslab.evaluation.figures import confusion, curves
from reslab.runs.history import EpochRecord


def history(epochs, *, validation=True, rates=None):
    return tuple(
        EpochRecord(
            epoch=e,
            step=10 * e,
            learning_rate=rates[e - 1] if rates else 0.1 / e,
            train_loss=2 / e,
            train_accuracy=1 - 0.8 / e,
            val_loss=2.2 / e if validation else None,
            val_accuracy=0.95 - 0.8 / e if validation else None,
            seconds=1.0,
            images_per_second=100.0,
        )
        for e in range(1, epochs + 1)
    )


def labels(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_curves_have_three_panels_on_one_epoch_axis():
    loss, accuracy, rate = curves(history(8), best_epoch=None).axes
    assert [axes.get_title("left") for axes in (loss, accuracy, rate)] == [
        "loss",
        "accuracy, %",
        "learning rate",
    ]
    assert rate.get_xlabel() == "epoch"
    assert loss.get_shared_x_axes().joined(loss, rate)
    assert [len(axes.lines) for axes in (loss, accuracy, rate)] == [2, 2, 1]


def test_curves_show_the_records():
    records = history(8)
    loss, accuracy, rate = curves(records, best_epoch=None).axes
    assert list(loss.lines[0].get_ydata()) == [r.train_loss for r in records]
    assert list(loss.lines[1].get_ydata()) == [r.val_loss for r in records]
    assert list(accuracy.lines[1].get_ydata()) == [100 * r.val_accuracy for r in records]
    assert list(rate.lines[0].get_ydata()) == [r.learning_rate for r in records]


def test_the_best_epoch_is_marked_in_each_panel_and_named():
    figure = curves(history(8), best_epoch=6)
    assert [len(axes.lines) for axes in figure.axes] == [3, 4, 2]
    assert labels(figure) == ["train", "validation", "best epoch 6"]
    ring = figure.axes[1].lines[-1]
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (6, 100 * history(8)[5].val_accuracy)


def test_a_best_epoch_outside_the_history_is_not_marked():
    assert labels(curves(history(3), best_epoch=9)) == ["train", "validation"]


def test_curves_without_validation_have_no_line_for_it():
    figure = curves(history(8, validation=False), best_epoch=8)
    assert labels(figure) == ["train", "best epoch 8"]
    assert len(figure.axes[0].lines) == 2


def test_one_epoch_shows_as_a_point_at_its_number():
    figure = curves(history(1), best_epoch=1)
    assert figure.axes[0].lines[0].get_marker() == "o"
    assert list(figure.axes[2].get_xticks()) == [1]
    to_png(figure)


def test_long_runs_have_lines_without_markers():
    assert curves(history(150), best_epoch=3).axes[0].lines[0].get_marker() in ("", "None")


def test_accuracy_ends_at_100_percent():
    assert curves(history(100), best_epoch=None).axes[1].get_ylim()[1] <= 101.5


@pytest.mark.parametrize(
    ("rates", "scale"),
    [
        ([0.1] * 4 + [0.01] * 3 + [0.001] * 3, "log"),
        ([0.05 * (1 + np.cos(np.pi * e / 10)) + 1e-6 for e in range(1, 11)], "linear"),
        ([0.1] * 9 + [0.0], "linear"),
        ([0.1] * 10, "linear"),
    ],
)
def test_learning_rates_that_fall_in_steps_are_drawn_on_a_log_scale(rates, scale):
    figure = curves(history(10, rates=rates), best_epoch=None)
    assert figure.axes[2].get_yscale() == scale


def test_no_epoch_is_said():
    figure = curves([], best_epoch=None)
    assert [text.get_text() for text in figure.texts] == ["No epoch has ended yet."]


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_curves_wear_the_theme(theme):
    figure = curves(history(3), theme=theme, best_epoch=None)
    assert [line.get_color() for line in figure.axes[0].lines] == [theme.train, theme.validation]
    for text in figure.legends[0].get_texts():
        assert to_hex(text.get_color()) == theme.ink


def test_equal_curves_give_equal_bytes():
    one, other = (to_png(curves(history(4), best_epoch=2)) for _ in range(2))
    assert one == other
    assert one != to_png(curves(history(4), best_epoch=3))


def test_diverged_losses_can_be_drawn():
    rows = [*history(3)]
    rows[2] = EpochRecord(**{**vars(rows[2]), "train_loss": float("nan"), "val_loss": float("inf")})
    to_png(curves(rows, best_epoch=None))


COUNTS_33 = np.array([[90, 10, 0], [2, 198, 0], [0, 0, 0]])


def test_confusion_writes_counts_but_no_zero_beside_the_diagonal():
    axes = confusion(COUNTS_33, ["a", "b", "c"]).axes[0]
    written = {text.get_position(): text.get_text() for text in axes.texts}
    assert written == {(0, 0): "90", (1, 0): "10", (0, 1): "2", (1, 1): "198", (2, 2): "0"}


def cells(figure):
    return np.asarray(figure.axes[0].images[0].get_array())


def test_confusion_colours_are_shares_of_the_row():
    doubled = COUNTS_33 * np.array([[1], [7], [1]])
    assert (cells(confusion(COUNTS_33, "abc")) == cells(confusion(doubled, "abc"))).all()


def test_a_few_percent_of_mistakes_are_not_lost_beside_the_diagonal():
    counts = np.diag([960, 1000, 1000])
    counts[0, 1] = 40
    colours_KK4 = cells(confusion(counts, "abc"))
    right, wrong, none = colours_KK4[0, 0], colours_KK4[0, 1], colours_KK4[0, 2]
    assert contrast(none[:3], LIGHT.paper) < 1.01
    assert contrast(wrong[:3], LIGHT.paper) > 2
    assert right[2] > right[0]  # blue
    assert wrong[0] > wrong[2]  # orange


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_counts_can_be_read_on_every_colour(theme):
    rng = np.random.default_rng(0)
    counts_KK = rng.integers(0, 60, (10, 10)) + np.diag(rng.integers(0, 900, 10))
    figure = confusion(counts_KK, [str(i) for i in range(10)], theme=theme)
    colours_KK4 = cells(figure)
    for text in figure.axes[0].texts:
        column, row = text.get_position()
        assert contrast(text.get_color(), colours_KK4[row, column][:3]) >= 4.5


def names_of(axis):
    return [text for text in axis.get_ticklabels() if text.get_text()]


@pytest.mark.parametrize(
    "classes",
    [
        ["cat", "dog"],
        ["T-shirt/top", "Trouser", "Pullover", "Ankle boot", "A very long name of a class"] * 2,
        [f"aquarium fish {i}" for i in range(20)],
        [f"aquarium fish {i}" for i in range(21)],
        [f"aquarium fish {i}" for i in range(100)],
    ],
    ids=len,
)
def test_class_names_do_not_collide(classes):
    figure = confusion(np.eye(len(classes), dtype=np.int64) * 50, classes)
    figure.draw_without_rendering()  # places everything
    axes = figure.axes[0]
    rows = [text.get_window_extent() for text in names_of(axes.yaxis)]
    assert not any(a.overlaps(b) for a, b in pairwise(rows))
    columns = names_of(axes.xaxis)
    height = columns[0].get_fontsize() * figure.dpi / 72
    if columns[0].get_rotation() == 0:
        extents = [text.get_window_extent() for text in columns]
        assert not any(a.overlaps(b) for a, b in pairwise(extents))
    else:
        # Of turned names, neighbouring lines must be a line's height apart.
        starts = axes.transData.transform([(place, 0) for place in axes.get_xticks()])[:, 0]
        assert np.diff(starts).min() * np.sin(np.radians(columns[0].get_rotation())) >= height
    assert all(text.get_fontsize() >= 8 for text in [*columns, *names_of(axes.yaxis)])


def test_a_hundred_classes_have_colours_and_fewer_names_but_no_counts():
    axes = confusion(np.eye(100, dtype=np.int64), [str(i) for i in range(100)]).axes[0]
    assert len(axes.texts) == 0
    assert 20 <= len(names_of(axes.yaxis)) <= 40


def test_the_scale_of_mistakes_ends_at_the_most_frequent():
    bar = confusion(COUNTS_33, "abc").axes[1]
    assert [t.get_text() for t in bar.get_xticklabels()] == [
        "0\u202f%",
        "2.5\u202f%",
        "10\u202f%",
    ]


def test_names_with_a_dollar_are_no_formulas():
    to_png(confusion(COUNTS_33, ["$\\frac{$", "a$b$", "$"]))
