import numpy as np
import pytest

from reslab.evaluation.canvas import DARK, LIGHT, to_png
from reslab.evaluation.tiles import Mistake, mistakes, samples, worst


def mistake(probability=0.9, shape=(1, 8, 8), true="cat", predicted="dog"):
    pixels_CHW = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    return Mistake(pixels_CHW=pixels_CHW, true=true, predicted=predicted, probability=probability)


def captions(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_worst_are_the_surest_first_and_ties_keep_their_order():
    items = [mistake(0.5), mistake(0.9, true="a"), mistake(0.9, true="b"), mistake(0.7)]
    assert [(m.probability, m.true) for m in worst(items, 3)] == [
        (0.9, "a"),
        (0.9, "b"),
        (0.7, "cat"),
    ]


def test_mistakes_are_captioned_and_sorted():
    figure = mistakes([mistake(0.5), mistake(0.974, true="Ankle boot", predicted="T-shirt/top")])
    assert captions(figure) == ["Ankle boot →\nT-shirt/top, 97\u202f%", "cat →\ndog, 50\u202f%"]


def test_at_most_25_mistakes_are_shown():
    figure = mistakes([mistake(i / 40) for i in range(40)])
    assert len(figure.axes) == 25
    assert captions(figure)[-1].endswith("38\u202f%")  # 15 / 40, the 25th from the top


def test_no_mistake_is_said():
    figure = mistakes([])
    assert [text.get_text() for text in figure.texts] == ["There was no mistake to show."]
    assert figure.axes == []


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 224, 224), (3, 32, 20), (2, 9, 9), (4, 9, 9)])
def test_pixels_are_shown_unchanged_and_unsmoothed(shape):
    item = mistake(shape=shape)
    (image,) = mistakes([item]).axes[0].images
    assert image.get_interpolation() == "nearest"
    shown = np.asarray(image.get_array())
    if shape[0] >= 3:
        assert (shown == item.pixels_CHW[:3].transpose(1, 2, 0)).all()
    else:
        assert (shown.squeeze() == item.pixels_CHW[0]).all()
        assert image.get_clim() == (0, 255)


def test_names_are_drawn_as_they_are():
    figure = mistakes([mistake(true="$\\frac{$", predicted="a$b$")])
    to_png(figure)  # would fail, were names parsed as formulas
    assert captions(figure)[0].startswith("$\\frac{$ →")


def test_samples_name_each_image_in_its_order():
    pixels_NCHW = np.zeros((3, 3, 8, 8), np.uint8)
    figure = samples(pixels_NCHW, np.array([1, 0, 1]), ["cat", "dog"], theme=DARK)
    assert captions(figure) == ["dog", "cat", "dog"]
    assert {text.get_color() for axes in figure.axes for text in axes.texts} == {DARK.ink}


def test_tiles_do_not_overlap_and_lie_within_the_figure():
    figure = samples(np.zeros((23, 1, 8, 8), np.uint8), [0] * 23, ["x"], theme=LIGHT)
    boxes = [axes.get_position() for axes in figure.axes]
    assert len(boxes) == 23
    for i, box in enumerate(boxes):
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= 1
        assert box.y1 <= 1
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_no_sample_is_said():
    figure = samples(np.zeros((0, 1, 8, 8), np.uint8), [], ["x"])
    assert [text.get_text() for text in figure.texts] == ["There is no image to show."]
