"""Random changes of brightness, contrast and saturation, of whole batches.

Shape suffixes: ``N`` images, ``C`` channels, ``H`` and ``W`` rows and columns.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# Of red, green and blue in brightness: ITU-R BT.601, as Pillow has it.
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def change_colours(
    pixels_NCHW: npt.NDArray[np.uint8], factors_N3: npt.NDArray[np.float32]
) -> npt.NDArray[np.uint8]:
    """Scale brightness, then contrast around the mean, then saturation; grey images have none.

    Args:
        pixels_NCHW: the images, of one or three channels.
        factors_N3: of brightness, contrast and saturation; 1 changes nothing.

    Source: the order and definitions of torchvision's ColorJitter, without its hue.
    """
    brightness_N, contrast_N, saturation_N = (
        factors_N3[:, place, None, None, None] for place in range(3)
    )
    images_NCHW = np.clip(pixels_NCHW.astype(np.float32) * brightness_N, 0, 255)
    mean_N = _grey(images_NCHW).mean(axis=(1, 2, 3), keepdims=True)
    images_NCHW = np.clip(mean_N + (images_NCHW - mean_N) * contrast_N, 0, 255)
    if images_NCHW.shape[1] == len(_LUMA):
        grey_N1HW = _grey(images_NCHW)
        images_NCHW = np.clip(grey_N1HW + (images_NCHW - grey_N1HW) * saturation_N, 0, 255)
    changed_NCHW: npt.NDArray[np.uint8] = np.rint(images_NCHW).astype(np.uint8)
    return changed_NCHW


def draw_factors(rng: np.random.Generator, n: int, strength: float) -> npt.NDArray[np.float32]:
    """Factors (N, 3) from 1 - strength to 1 + strength."""
    return rng.uniform(1 - strength, 1 + strength, (n, 3)).astype(np.float32)


def _grey(images_NCHW: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Brightness (N, 1, H, W)."""
    if images_NCHW.shape[1] != len(_LUMA):
        grey_N1HW: npt.NDArray[np.float32] = images_NCHW.mean(axis=1, keepdims=True)
    else:
        grey_N1HW = np.einsum("nchw,c->nhw", images_NCHW, _LUMA)[:, None]
    return grey_N1HW
