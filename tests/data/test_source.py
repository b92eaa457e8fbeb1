import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reslab.data.source import DataSource, Images
from reslab.errors import UserError


def images(count: int = 3, seed: int = 0) -> Images:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (count, 1, 4, 4)).astype(np.uint8)
    return Images(pixels, rng.integers(0, 10, count).astype(np.int64))


def test_length_is_the_number_of_images():
    assert len(images(5)) == 5


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((2, 4, 4), np.uint8), np.zeros((2, 1, 4, 4), np.float32)],
    ids=["three dimensions", "floats"],
)
def test_pixels_of_another_kind_are_refused(pixels):
    with pytest.raises(UserError, match="uint8 of shape"):
        Images(pixels, np.zeros(2, np.int64))


@pytest.mark.parametrize(
    "labels",
    [np.zeros(3, np.int64), np.zeros(2, np.int32), np.zeros((2, 1), np.int64)],
    ids=["too many", "int32", "a column"],
)
def test_labels_that_do_not_fit_are_refused(labels):
    with pytest.raises(UserError, match=r"int64 of shape \(2,\)"):
        Images(np.zeros((2, 1, 4, 4), np.uint8), labels)


def test_take_copies():
    whole = images()
    part = whole.take(np.array([2, 0]))
    assert part.labels_N.tolist() == [whole.labels_N[2], whole.labels_N[0]]
    before = whole.pixels_NCHW.copy()
    part.pixels_NCHW[:] = 0
    assert np.array_equal(whole.pixels_NCHW, before)


def test_equal_data_have_equal_fingerprints_whatever_their_memory_layout():
    one = images()
    strided = np.asfortranarray(one.pixels_NCHW)
    assert Images(strided, one.labels_N.copy()).fingerprint() == one.fingerprint()


@given(st.integers(0, 2), st.integers(0, 15), st.booleans())
@settings(deadline=None)
def test_any_change_changes_the_fingerprint(image, pixel, in_labels):
    one, other = images(), images()
    if in_labels:
        other.labels_N[image] += 1
    else:
        other.pixels_NCHW[image].reshape(-1)[pixel] ^= 1
    assert one.fingerprint() != other.fingerprint()


def test_the_shape_belongs_to_the_fingerprint():
    one = images()
    reshaped = Images(one.pixels_NCHW.reshape(3, 1, 2, 8), one.labels_N)
    assert one.fingerprint() != reshaped.fingerprint()


def test_any_object_with_the_three_members_is_a_data_source():
    class Own:
        card = None

        def load_train(self):
            return images()

        def load_test(self):
            return images()

    needed = {name for name in vars(DataSource) if not name.startswith("_")}
    assert needed <= set(dir(Own()))
    assert needed == {"card", "load_train", "load_test"}
