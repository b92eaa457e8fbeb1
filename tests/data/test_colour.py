"""Brightness, contrast and saturation, beside torchvision's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as F

from reslab.data.colour import change_colours, draw_factors

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 3, 6, 5)).astype(np.uint8)


@pytest.mark.parametrize(
    "factors", [(1, 1, 1), (1.3, 1, 1), (1, 0.6, 1), (1, 1, 0.2), (0.7, 1.2, 1.4)]
)
def test_they_are_torchvision_s(factors) -> None:
    found = change_colours(PIXELS, np.tile(np.float32(factors), (3, 1)))
    images = torch.from_numpy(PIXELS) / 255
    for change, factor in zip(
        (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation), factors, strict=True
    ):
        images = change(images, factor)
    assert np.abs(found - (images * 255).numpy()).max() <= 1


def test_each_image_has_its_own_factors() -> None:
    factors = np.array([[1, 1, 1], [0, 1, 1], [1, 1, 0]], np.float32)
    found = change_colours(PIXELS, factors)
    np.testing.assert_array_equal(found[0], PIXELS[0])
    assert not found[1].any()
    assert (np.ptp(found[2], axis=0) <= 1).all()


def test_grey_images_keep_one_channel() -> None:
    found = change_colours(PIXELS[:, :1], np.full((3, 3), 0.5, np.float32))
    assert (found.shape, found.dtype) == ((3, 1, 6, 5), np.uint8)


def test_factors_lie_around_one() -> None:
    factors = draw_factors(np.random.default_rng(0), 1000, 0.4)
    assert factors.shape == (1000, 3) and factors.dtype == np.float32
    assert factors.min() == pytest.approx(0.6, abs=0.01)
    assert factors.max() == pytest.approx(1.4, abs=0.01)
    assert (draw_factors(np.random.default_rng(0), 5, 0.0) == 1).all()
