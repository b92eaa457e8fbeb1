import numpy as np
import pytest
from sklearn.datasets import load_digits

from reslab.catalog.datasets import DATASETS
from reslab.data.digits import DigitsSource

CARD = next(card for card in DATASETS if card.name == "digits")


@pytest.fixture(scope="module")
def splits():
    source = DigitsSource(CARD)
    return source.load_train(), source.load_test()


def test_shapes_and_types_are_those_of_the_card(splits):
    train, test = splits
    assert train.pixels_NCHW.shape == (CARD.train_images, 1, 8, 8)
    assert test.pixels_NCHW.shape == (CARD.test_images, 1, 8, 8)
    assert train.pixels_NCHW.flags.writeable


def test_the_whole_range_of_bytes_is_used(splits):
    values = np.unique(splits[0].pixels_NCHW)
    assert len(values) == 17
    assert (values[0], values[8], values[-1]) == (0, 128, 255)


def test_the_splits_share_no_image_and_leave_none_out(splits):
    def bag(pixels, labels):
        return sorted(zip(map(bytes, pixels.astype(np.uint8)), labels.tolist(), strict=True))

    bundled = load_digits()
    ours = np.concatenate([part.pixels_NCHW for part in splits])[:, 0]
    labels = np.concatenate([part.labels_N for part in splits])
    assert bag(np.round(ours / 255 * 16), labels) == bag(bundled.images, bundled.target)


def test_each_class_has_its_share_of_both_parts(splits):
    train, test = (np.bincount(part.labels_N, minlength=10) for part in splits)
    assert np.abs(test / (train + test) - 360 / 1797).max() < 0.005


def test_the_split_never_changes(splits):
    # Another value means another test set: results before and after would not be comparable.
    train, test = splits
    assert train.fingerprint()[:16] == "a91fe7353c210cab"
    assert test.fingerprint()[:16] == "2a5e0fcfaf6756a4"
    assert DigitsSource(CARD).load_test().fingerprint() == test.fingerprint()
