"""What a data set is: a card, a training split and a test split that is read only when asked.

Shape suffixes: ``N`` images, ``C`` channels, ``H`` and ``W`` rows and columns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from reslab.catalog.datasets import DataCard
from reslab.data.pixels import Distant, Pixels, choose
from reslab.errors import UserError


@dataclass(frozen=True)
class Images:
    """Labelled images.

    Attributes:
        pixels_NCHW: uint8, 0 to 255: an array, or what is read from files when it is indexed.
        labels_N: int64, 0 to classes - 1.
        groups_N: int64, equal for images that belong together, which are then never divided
            between training and judging; None: each stands for itself.
        judged_N: which of them the data set sets apart for validation; None: it leaves that open.
        faults: why pictures of the data set are not among them, by their names.

    Raises:
        UserError: where shapes or types do not fit each other.
    """

    pixels_NCHW: Pixels
    labels_N: npt.NDArray[np.int64]
    groups_N: npt.NDArray[np.int64] | None = None
    judged_N: npt.NDArray[np.bool_] | None = None
    faults: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.pixels_NCHW.dtype != np.uint8 or self.pixels_NCHW.ndim != 4:
            raise UserError(
                "images must be one array",
                expected="uint8 of shape (images, channels, rows, columns)",
                received=f"{self.pixels_NCHW.dtype} of shape {self.pixels_NCHW.shape}",
            )
        if self.labels_N.dtype != np.int64 or self.labels_N.shape != self.pixels_NCHW.shape[:1]:
            raise UserError(
                "labels must be one number for each image",
                expected=f"int64 of shape ({len(self.pixels_NCHW)},)",
                received=f"{self.labels_N.dtype} of shape {self.labels_N.shape}",
            )
        if self.groups_N is not None and (
            self.groups_N.dtype != np.int64 or self.groups_N.shape != self.labels_N.shape
        ):
            raise UserError(
                "groups must be one number for each image",
                expected=f"int64 of shape {self.labels_N.shape}",
                received=f"{self.groups_N.dtype} of shape {self.groups_N.shape}",
            )

    def __len__(self) -> int:
        return len(self.labels_N)

    def take(self, indices: npt.NDArray[np.intp]) -> Images:
        """The images at ``indices``, copied where they are in memory."""
        groups_N = None if self.groups_N is None else self.groups_N[indices]
        return Images(choose(self.pixels_NCHW, indices), self.labels_N[indices], groups_N)

    def check_fits(self, channels: int, size: int, classes: int) -> None:
        """Refuse images that a net of these sizes cannot take.

        Raises:
            UserError: where shape or labels differ, or there are no images.
        """
        wanted = (channels, size, size)
        if self.pixels_NCHW.shape[1:] != wanted:
            raise UserError(
                "the images do not fit the net",
                expected=f"(channels, rows, columns) of {wanted}",
                received=str(self.pixels_NCHW.shape[1:]),
                remedy="scale them, or choose the data set that the net was made for",
            )
        if not len(self) or self.labels_N.min() < 0 or self.labels_N.max() >= classes:
            raise UserError(
                "the labels do not fit the net",
                expected=f"at least one image, labels 0 to {classes - 1}",
                received=f"labels {self.labels_N.min()} to {self.labels_N.max()}"
                if len(self)
                else "no images",
                remedy="mend the labels or the list of classes",
            )

    def fingerprint(self) -> str:
        """SHA-256 over all that is known of them: equal data, equal text, on any machine.

        Of pixels that are not in memory their checksums stand for them.
        """
        digest = hashlib.sha256(repr(self.pixels_NCHW.shape).encode())
        if isinstance(self.pixels_NCHW, Distant):
            digest.update(self.pixels_NCHW.known.checksums_N.astype("<u4").data)
        else:
            digest.update(np.ascontiguousarray(self.pixels_NCHW).data)
        digest.update(self.labels_N.astype("<i8").data)
        if self.groups_N is not None:
            digest.update(self.groups_N.astype("<i8").data)
        if self.judged_N is not None:
            digest.update(self.judged_N.astype("u1").data)
        return digest.hexdigest()


class DataSource(Protocol):
    """A data set. Implement these three and every entry point takes your object.

    ``load_test`` is called by evaluation only; training never receives what it gives.
    """

    @property
    def card(self) -> DataCard:
        """What is known about the data set without reading it."""

    def load_train(self) -> Images:
        """Read the training split, from which validation is split off."""

    def load_test(self) -> Images:
        """Read the test split."""
