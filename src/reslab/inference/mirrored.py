"""Test-time augmentation: what a net makes of an image and of its mirror image, averaged.

It is the mean of the logits, which the net's head makes the logits of the mean features.
Simonyan and Zisserman, arXiv 1409.1556, section 3.2, average the classes' probabilities.

Shape suffixes: ``N`` images, ``C`` channels, ``H`` and ``W`` rows and columns, ``D`` outputs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Outputs = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]


def averaged(
    outputs: Outputs, pixels_NCHW: npt.NDArray[np.uint8], *, flip: bool
) -> npt.NDArray[np.float32]:
    """Outputs (N, D) of images, or with ``flip`` their mean with those of the mirror images."""
    if not flip:
        return outputs(pixels_NCHW)
    mirrored_NCHW = np.ascontiguousarray(pixels_NCHW[..., ::-1])
    return (outputs(pixels_NCHW) + outputs(mirrored_NCHW)) / np.float32(2)
