"""Arrays in memory as a data set, for those who come with data of their own from Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from reslab.catalog.datasets import DataCard
from reslab.data.source import Images
from reslab.errors import UserError

Layout = Literal["NHWC", "NCHW"]

_CHANNELS = (1, 3, 4)


class ArraySource:
    """Arrays in memory as a data set.

    The arrays are not copied where their layout is already the one wanted: leave them
    unchanged while the source is in use.

    Args:
        train_images: uint8 of (images, rows, columns), or of four dimensions as ``layout``
            says, with 1, 3 or 4 channels; rows and columns are equal.
        train_labels: an integer for each image, 0 to classes - 1.
        test_images: the same for testing, of the same size and channels; may be left out.
        test_labels: the labels of ``test_images``.
        layout: ``NHWC`` for channels last, ``NCHW`` for channels first.
        name: what the data set is called in runs and reports.
        classes: class names in the order of the labels; without them the classes are the
            numbers that occur in ``train_labels``, which must then leave none out.
        flip: whether a mirrored image keeps its meaning.
        train_groups: an integer or text for each training image, equal for those that belong
            together (of one patient, scene or author) and must not be divided.

    Raises:
        UserError: where shapes, types or labels do not fit.

    Example:
        >>> import numpy as np
        >>> source = ArraySource(np.zeros((4, 8, 8), np.uint8), [0, 1, 0, 1])
        >>> source.card.classes
        ('0', '1')
        >>> source.load_train().pixels_NCHW.shape
        (4, 1, 8, 8)
    """

    def __init__(
        self,
        train_images: npt.ArrayLike,
        train_labels: npt.ArrayLike,
        test_images: npt.ArrayLike | None = None,
        test_labels: npt.ArrayLike | None = None,
        *,
        layout: Layout = "NHWC",
        name: str = "arrays",
        classes: Sequence[str] | None = None,
        flip: bool = False,
        train_groups: npt.ArrayLike | None = None,
    ) -> None:
        if layout not in ("NHWC", "NCHW"):
            raise UserError("layout is unknown", expected="'NHWC' or 'NCHW'", received=repr(layout))
        if (test_images is None) != (test_labels is None):
            raise UserError("test_images and test_labels must be given together or not at all")
        self._train = _pair(train_images, train_labels, layout, "train")
        if train_groups is not None:
            groups = np.asarray(train_groups)
            if groups.shape != self._train.labels_N.shape:
                raise UserError(
                    "train_groups must be one name for each image",
                    expected=f"shape {self._train.labels_N.shape}",
                    received=f"shape {groups.shape}",
                )
            # As text, which has an order whatever else the names are.
            numbers = np.unique(groups.astype(str), return_inverse=True)[1].astype(np.int64)
            self._train = replace(self._train, groups_N=numbers)
        self._test = (
            None
            if test_images is None or test_labels is None
            else _pair(test_images, test_labels, layout, "test")
        )
        names = _class_names(self._train.labels_N) if classes is None else tuple(classes)
        if not all(isinstance(name, str) for name in names):
            raise UserError("classes are named by text", received=repr(names), remedy="use str()")
        if len(set(names)) != len(names):
            raise UserError("two classes have the same name", received=", ".join(names))
        _check_labels(self._train.labels_N, len(names), "train_labels")

        _, channels, _, side = self._train.pixels_NCHW.shape
        if self._test is not None:
            _check_labels(self._test.labels_N, len(names), "test_labels")
            if self._test.pixels_NCHW.shape[1:] != self._train.pixels_NCHW.shape[1:]:
                raise UserError(
                    "test_images differ from train_images",
                    expected=f"{channels} channels of {side} x {side} pixels",
                    received="{} channels of {} x {}".format(*self._test.pixels_NCHW.shape[1:]),
                )
        self.card = DataCard(
            name=name,
            title=name,
            kind="arrays",
            classes=names,
            channels=channels,
            image_size=side,
            train_images=len(self._train),
            test_images=0 if self._test is None else len(self._test),
            flip=flip,
            licence="not stated",
            source="arrays passed from Python",
        )

    def load_train(self) -> Images:
        """The training images, in shape (images, channels, side, side)."""
        return self._train

    def load_test(self) -> Images:
        """The test images, in the shape of the training images.

        Raises:
            UserError: where none were given.
        """
        if self._test is None:
            raise UserError(
                f"{self.card.name} has no test images",
                remedy="pass test_images and test_labels, or evaluate the validation split",
            )
        return self._test


def _pair(images: npt.ArrayLike, labels: npt.ArrayLike, layout: Layout, split: str) -> Images:
    """Images and labels that fit each other, in our layout and types."""
    pixels_NCHW = to_nchw(np.asarray(images), layout, f"{split}_images")
    numbers = np.asarray(labels)
    if numbers.shape != pixels_NCHW.shape[:1] or numbers.dtype.kind not in "iu":
        raise UserError(
            f"{split}_labels must be one integer for each image",
            expected=f"integers of shape ({len(pixels_NCHW)},)",
            received=f"{numbers.dtype} of shape {numbers.shape}",
        )
    return Images(pixels_NCHW, numbers.astype(np.int64))


def to_nchw(images: npt.NDArray[np.generic], layout: Layout, what: str) -> npt.NDArray[np.uint8]:
    """Square images of any layout as (images, channels, side, side), contiguous.

    Args:
        images: uint8 of (images, rows, columns), or of four dimensions as ``layout`` says.
        layout: ``NHWC`` for channels last, ``NCHW`` for channels first.
        what: what the images are called, for the error's text.

    Raises:
        UserError: where type, shape or number of channels is another.
    """
    if images.dtype != np.uint8:
        raise UserError(
            f"{what} must be bytes",
            expected="uint8 from 0 to 255",
            received=str(images.dtype),
            remedy="scale them to 0 to 255, round, and convert with astype('uint8')",
        )
    if images.ndim not in (3, 4) or not len(images):
        raise UserError(
            f"{what} must be one array of at least one image",
            expected="(images, rows, columns) or (images, rows, columns, channels)",
            received=f"shape {images.shape}",
        )
    if images.ndim == 3:
        ordered = images[:, None]
    else:
        ordered = images.transpose(0, 3, 1, 2) if layout == "NHWC" else images
    _, channels, rows, columns = ordered.shape
    if channels not in _CHANNELS:
        other = "NCHW" if layout == "NHWC" else "NHWC"
        raise UserError(
            f"{what} have an unusual number of channels",
            expected="1, 3 or 4",
            received=f"{channels} in shape {images.shape} read as {layout}",
            remedy=f"if they are ordered otherwise, pass layout={other!r}",
        )
    if rows != columns or rows == 0:
        raise UserError(
            f"{what} must be square",
            expected="as many rows as columns",
            received=f"{rows} x {columns} pixels",
            remedy="crop or pad them to squares first",
        )
    return np.ascontiguousarray(ordered, np.uint8)


def _class_names(labels_N: npt.NDArray[np.int64]) -> tuple[str, ...]:
    """Numbers as names, where the labels count from 0 and leave none out."""
    present = np.unique(labels_N)
    if present[0] != 0 or present[-1] != len(present) - 1:
        raise UserError(
            "train_labels must number the classes from 0 without a gap",
            expected=f"0 to {len(present) - 1} for {len(present)} classes",
            received=f"{present[0]} to {present[-1]}",
            remedy="renumber them with numpy.unique(labels, return_inverse=True)[1], "
            "or pass classes",
        )
    return tuple(str(number) for number in range(len(present)))


def _check_labels(labels_N: npt.NDArray[np.int64], classes: int, what: str) -> None:
    wrong = (labels_N < 0) | (labels_N >= classes)
    if wrong.any():
        first = int(np.argmax(wrong))
        raise UserError(
            f"{what} hold a number without a class",
            expected=f"0 to {classes - 1}",
            received=f"{labels_N[first]} for image {first}",
        )
