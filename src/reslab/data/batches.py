"""Training batches as a pure function of (seeds, epoch, step): nothing to save, nothing to lose.

Shape suffixes: ``N`` images of the batch, ``C`` channels, ``H`` and ``W`` rows and columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from reslab.data.augment import augment
from reslab.data.normalise import Normaliser
from reslab.data.source import Images

# What the numbers are drawn for: numpy takes [seed, epoch] and [seed, epoch, 0] for the same
# seed, so that without a purpose the shuffle and a step's augmentation would draw the same.
_ORDER, _AUGMENTATION, _DRAWS = 0, 1, 2


@dataclass(frozen=True)
class Batch:
    """What one step learns from: float32 images (N, C, H, W) and int64 labels (N,)."""

    images_NCHW: Tensor
    labels_N: Tensor


@dataclass(frozen=True, kw_only=True)
class TrainBatches:
    """The training images, shuffled and augmented.

    Attributes:
        images: the training part, in memory.
        normaliser: applied after augmentation.
        batch_size: images of every batch; a last, smaller one is left out.
        balanced: whether all classes are drawn alike, those of rare ones again and again.
        pad: see ``reslab.data.augment.augment``.
        level: of the pixels that ``pad`` adds.
        crop: side of the images that come out.
        flip: whether half of the images are mirrored.
        trivial: whether each image is changed by TrivialAugment.
        cutout: side of the greyed-out square; 0 for none.
        erasing: probability of a greyed-out rectangle.
        resized: least share of an image that a random part of it has, which is then scaled to
            ``crop``; 1: plain crops.
        colour: by how much brightness, contrast and saturation change at most; 0: not.
        order_seed: of the shuffling.
        augmentation_seed: of what augmentation draws.
        numbers: what the images are called when one has to be named; None: their positions.
        classes: how many there are; 0: up to the highest label.
    """

    images: Images
    normaliser: Normaliser
    batch_size: int
    balanced: bool = False
    pad: int = 0
    level: int = 0
    crop: int
    flip: bool = False
    trivial: bool = False
    cutout: int = 0
    erasing: float = 0.0
    resized: float = 1.0
    colour: float = 0.0
    order_seed: int = 0
    augmentation_seed: int = 0
    numbers: npt.NDArray[np.intp] | None = None
    classes: int = 0

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch."""
        return len(self.images) // self.batch_size

    @property
    def num_classes(self) -> int:
        """Classes of the labels."""
        return self.classes or int(self.images.labels_N.max()) + 1

    def positions(self, epoch: int, step: int) -> npt.NDArray[np.intp]:
        """Which of ``images`` a step sees."""
        order = self._order(epoch)
        return order[step * self.batch_size : (step + 1) * self.batch_size]

    def _order(self, epoch: int) -> npt.NDArray[np.intp]:
        """The epoch's images in their order; the last epoch asked for is remembered."""
        if epoch not in self._orders:
            self._orders.clear()
            draw = _balanced_order if self.balanced else _order
            self._orders[epoch] = draw(self.order_seed, epoch, self.images.labels_N)
        return self._orders[epoch]

    @cached_property
    def _orders(self) -> dict[int, npt.NDArray[np.intp]]:
        return {}

    def numbers_of(self, epoch: int, step: int) -> npt.NDArray[np.intp]:
        """What the images are called that a step sees."""
        chosen = self.positions(epoch, step)
        return chosen if self.numbers is None else self.numbers[chosen]

    def pixels(self, epoch: int, step: int) -> tuple[npt.NDArray[np.uint8], Tensor]:
        """The augmented uint8 pixels and the labels of a step, before normalisation."""
        chosen = self.positions(epoch, step)
        rng = np.random.default_rng([_AUGMENTATION, self.augmentation_seed, epoch, step])
        pixels_NCHW = augment(
            self.images.pixels_NCHW[chosen],
            rng,
            pad=self.pad,
            level=self.level,
            crop=self.crop,
            flip=self.flip,
            trivial=self.trivial,
            cutout_side=self.cutout,
            erasing=self.erasing,
            resized=self.resized,
            colour=self.colour,
            fill_C=self.normaliser.mean_pixel(),
        )
        return pixels_NCHW, torch.from_numpy(self.images.labels_N[chosen])

    def batch(self, epoch: int, step: int) -> Batch:
        """The batch of step 0 … steps_per_epoch - 1 of an epoch counted from 0."""
        pixels_NCHW, labels_N = self.pixels(epoch, step)
        return Batch(self.normaliser(pixels_NCHW), labels_N)

    def draws_seed(self, epoch: int, step: int) -> int:
        """Seed of what the net itself draws in a step: dropout and stochastic depth."""
        return int(
            np.random.SeedSequence([_DRAWS, self.augmentation_seed, epoch, step])
            .generate_state(1, np.uint64)
            .item()
        )


def _order(seed: int, epoch: int, labels_N: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
    """A permutation of the images, drawn anew each epoch."""
    return np.random.default_rng([_ORDER, seed, epoch]).permutation(len(labels_N))


def _balanced_order(seed: int, epoch: int, labels_N: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
    """As many draws as there are images, from each class as many as from any other or one more.

    A class gives all of its images before it gives one of them again.
    """
    rng = np.random.default_rng([_ORDER, seed, epoch])
    classes = rng.permutation(np.unique(labels_N))
    drawn = []
    for place, label in enumerate(classes):
        of_class = np.flatnonzero(labels_N == label)
        count = len(range(place, len(labels_N), len(classes)))
        rounds = [rng.permutation(of_class) for _ in range(-(-count // len(of_class)))]
        drawn.append(np.concatenate(rounds)[:count])
    return rng.permutation(np.concatenate(drawn))
