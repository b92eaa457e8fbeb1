"""What reslab's kernels hold of a convolution while they compute it, and give back after it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from reslab.ops import winograd

_BYTES = 4

# In the backward: of the gradient for the input and for the weights, and of the input.
_PLANES_HELD = 3

# Packed, and their gradient.
_WEIGHTS_HELD = 2


@dataclass(frozen=True, kw_only=True)
class Scratch:
    """Memory for one convolution's forward and backward besides its input, output and gradients.

    Attributes:
        image_bytes: for each image.
        most_bytes: for all images together, which are computed in parts where they need more.
        fixed_bytes: whatever the images.
    """

    image_bytes: int
    most_bytes: int
    fixed_bytes: int

    def of(self, images: int) -> int:
        """Bytes for a batch of so many images.

        >>> Scratch(image_bytes=10, most_bytes=25, fixed_bytes=3).of(2)
        23
        """
        return min(images * self.image_bytes, self.most_bytes) + self.fixed_bytes


def scratch_of(conv: nn.Conv2d, rows: int, columns: int) -> Scratch | None:
    """What a convolution of images of that size needs; None: nothing worth counting.

    Args:
        conv: the convolution.
        rows: of its input.
        columns: of its input.
    """
    numbers = winograd.numbers_of_image(conv, rows, columns)
    if numbers == 0:
        return None
    held = _PLANES_HELD * _BYTES
    return Scratch(
        image_bytes=held * numbers,
        most_bytes=held * max(winograd.MOST_NUMBERS, numbers),
        fixed_bytes=_WEIGHTS_HELD * _BYTES * winograd.PLANES * conv.in_channels**2,
    )
