import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reslab.data.arrays import ArraySource
from reslab.data.source import DataSource
from reslab.errors import UserError


def bytes_of(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def test_the_card_tells_what_the_arrays_are():
    source: DataSource = ArraySource(
        bytes_of(6, 5, 5, 3), [0, 1, 2, 0, 1, 2], bytes_of(2, 5, 5, 3), [0, 2],
        name="mine", classes=["a", "b", "c"], flip=True,
    )  # fmt: skip
    card = source.card
    assert (card.name, card.kind, card.classes, card.flip) == (
        "mine", "arrays", ("a", "b", "c"), True,
    )  # fmt: skip
    assert (card.channels, card.image_size) == (3, 5)
    assert (card.train_images, card.test_images) == (6, 2)
    assert source.load_test().labels_N.tolist() == [0, 2]


@given(count=st.integers(1, 4), side=st.integers(1, 6), channels=st.sampled_from([None, 1, 3, 4]))
@settings(deadline=None)
def test_pixels_are_where_they_were(count, side, channels):
    shape = (count, side, side) if channels is None else (count, side, side, channels)
    images = bytes_of(*shape)
    pixels = ArraySource(images, [0] * count).load_train().pixels_NCHW
    expected = images[:, None] if channels is None else np.moveaxis(images, -1, 1)
    assert np.array_equal(pixels, expected)
    assert pixels.flags.c_contiguous


def test_channels_first_is_read_when_it_is_said():
    images = bytes_of(2, 3, 5, 5)
    source = ArraySource(images, [0, 1], layout="NCHW")
    assert np.array_equal(source.load_train().pixels_NCHW, images)


def test_tensors_and_any_integers_are_taken():
    source = ArraySource(torch.zeros(2, 4, 4, dtype=torch.uint8), np.array([0, 1], np.uint8))
    assert source.load_train().labels_N.dtype == np.int64


def test_classes_are_numbered_where_they_have_no_names():
    assert ArraySource(bytes_of(3, 4, 4), [2, 0, 1]).card.classes == ("0", "1", "2")


def test_named_classes_may_lack_images():
    source = ArraySource(bytes_of(2, 4, 4), [0, 2], classes=["a", "b", "c"])
    assert len(source.card.classes) == 3


def test_without_test_images_there_is_no_test_split():
    with pytest.raises(UserError, match="arrays has no test images; pass test_images"):
        ArraySource(bytes_of(2, 4, 4), [0, 1]).load_test()


GREY = bytes_of(2, 4, 4)


@pytest.mark.parametrize(
    ("arguments", "options", "told"),
    [
        ((GREY.astype(np.float32), [0, 1]), {}, "expected uint8.*received float32"),
        ((bytes_of(4, 4), [0] * 4), {}, r"received shape \(4, 4\)"),
        ((bytes_of(0, 4, 4), []), {}, "at least one image"),
        ((bytes_of(2, 4, 5), [0, 1]), {}, "must be square.*received 4 x 5 pixels; crop"),
        ((bytes_of(2, 0, 0), [0, 1]), {}, "must be square"),
        ((bytes_of(2, 3, 5, 5), [0, 1]), {}, "received 5 in shape.*layout='NCHW'"),
        ((bytes_of(2, 5, 5, 3), [0, 1]), {"layout": "NCHW"}, "layout='NHWC'"),
        ((GREY, [0, 1]), {"layout": "HWCN"}, "layout is unknown"),
        ((GREY, [0]), {}, r"integers of shape \(2,\), received int64 of shape \(1,\)"),
        ((GREY, [[0], [1]]), {}, r"shape \(2, 1\)"),
        ((GREY, [0.0, 1.0]), {}, "received float64"),
        ((GREY, [True, False]), {}, "received bool"),
        ((GREY, ["a", "b"]), {}, "must be one integer"),
        ((GREY, [1, 2]), {}, "0 to 1 for 2 classes, received 1 to 2; renumber"),
        ((GREY, [0, 2]), {}, "without a gap"),
        ((GREY, [-1, 0]), {}, "from 0"),
        ((GREY, [-1, 0]), {"classes": ["a", "b"]}, "received -1 for image 0"),
        ((GREY, [0, 2]), {"classes": ["a", "b"]}, "0 to 1, received 2 for image 1"),
        ((GREY, [0, 1]), {"classes": ["a", "a"]}, "same name"),
        ((GREY, [0, 1], GREY), {}, "together or not at all"),
        ((GREY, [0, 1], GREY, [0, 2]), {}, "test_labels hold"),
        ((GREY, [0, 1], bytes_of(2, 5, 5), [0, 1]), {}, "test_images differ"),
        ((GREY, [0, 1], bytes_of(2, 4, 4, 3), [0, 1]), {}, "received 3 channels"),
    ],
)
def test_what_does_not_fit_is_told(arguments, options, told):
    with pytest.raises(UserError, match=told) as caught:
        ArraySource(*arguments, **options)
    assert "\n" not in str(caught.value)
