"""The handwritten digits that come with scikit-learn: a data set that needs no download.

scikit-learn bundles 1797 images of 8x8 pixels. They are the *test* part alone of the set that
UCI publishes, so there is no official split of them; ours is fixed here. Because all images
come from the same writers, accuracies on it are not comparable with those of the full UCI set.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reslab.catalog.datasets import DataCard
from reslab.data.source import Images

# Part of the data set's definition: another number is another data set.
SPLIT_SEED = 0

_MOST_INK = 16  # a pixel counts the inked dots of a 4x4 cell


@dataclass(frozen=True)
class DigitsSource:
    """scikit-learn's digits, split by stratified drawing without replacement.

    The split is ``sklearn.model_selection.train_test_split(..., test_size=card.test_images,
    stratify=labels, random_state=SPLIT_SEED)`` over the images in their bundled order, so that
    each class has the same share of both parts.

    Attributes:
        card: the card of the data set.
    """

    card: DataCard

    def load_train(self) -> Images:
        """Read the 1437 images for training: ``pixels_NCHW`` of (1437, 1, 8, 8)."""
        return self._load()[0]

    def load_test(self) -> Images:
        """Read the 360 images for testing: ``pixels_NCHW`` of (360, 1, 8, 8)."""
        return self._load()[1]

    def _load(self) -> tuple[Images, Images]:
        # Imported here because scikit-learn takes a second that other data sets can spare.
        from sklearn.datasets import load_digits  # noqa: PLC0415
        from sklearn.model_selection import train_test_split  # noqa: PLC0415

        bunch = load_digits()
        ink_NHW = bunch.images.astype(np.int64)
        # Scaled to the full range and rounded half up, in integers: equal on every machine.
        pixels_NCHW = ((ink_NHW * 255 + _MOST_INK // 2) // _MOST_INK).astype(np.uint8)[:, None]
        everything = Images(pixels_NCHW, bunch.target.astype(np.int64))
        train, test = train_test_split(
            np.arange(len(everything)),
            test_size=self.card.test_images,
            stratify=everything.labels_N,
            random_state=SPLIT_SEED,
        )
        return everything.take(train), everything.take(test)
