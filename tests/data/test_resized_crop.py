"""Random parts of images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from reslab.data.resized_crop import draw_boxes, resize_boxes

NONE = np.array([False, False])


def draw(least: float, n: int = 2000, height: int = 60, width: int = 80) -> np.ndarray:
    return draw_boxes(np.random.default_rng(0), n, height=height, width=width, least=least)


def test_boxes_lie_within_and_have_the_areas_and_sides_asked_for() -> None:
    top_N, left_N, rows_N, columns_N = draw(0.2).T
    assert (top_N >= 0).all() and (left_N >= 0).all()
    assert (top_N + rows_N <= 60).all() and (left_N + columns_N <= 80).all()
    share_N = rows_N * columns_N / (60 * 80)
    assert share_N.min() > 0.18 and share_N.max() > 0.9
    assert share_N.mean() == pytest.approx(0.55, abs=0.05)
    aspect_N = columns_N / rows_N
    assert aspect_N.min() > 0.7 and aspect_N.max() < 1.4
    # Every place is taken.
    assert top_N.min() == 0 and (top_N + rows_N).max() == 60
    assert left_N.min() == 0 and (left_N + columns_N).max() == 80


def test_where_nothing_fits_it_is_the_whole_image() -> None:
    assert draw(0.9, n=3, height=4, width=400).tolist() == [[0, 0, 4, 400]] * 3


def test_parts_are_scaled_to_the_size() -> None:
    pixels_NCHW = np.zeros((2, 3, 20, 20), np.uint8)
    pixels_NCHW[0, :, 5:15, 0:10] = 200
    pixels_NCHW[1, 1] = 100
    out_NCSS = resize_boxes(pixels_NCHW, np.array([[5, 0, 10, 10], [0, 0, 20, 20]]), NONE, 7)
    assert (out_NCSS.shape, out_NCSS.dtype) == ((2, 3, 7, 7), np.uint8)
    assert (out_NCSS[0] == 200).all()
    assert (out_NCSS[1] == np.array([0, 100, 0])[:, None, None]).all()


def test_the_whole_at_its_own_size_is_unchanged() -> None:
    pixels_NCHW = np.random.default_rng(0).integers(0, 256, (2, 1, 9, 9)).astype(np.uint8)
    boxes_N4 = np.array([[0, 0, 9, 9]] * 2)
    np.testing.assert_array_equal(resize_boxes(pixels_NCHW, boxes_N4, NONE, 9), pixels_NCHW)


@pytest.mark.parametrize("channels", [1, 3])
def test_mirrored_ones_are_those_of_the_mirror_image(channels: int) -> None:
    pixels_NCHW = np.random.default_rng(0).integers(0, 256, (5, channels, 9, 9)).astype(np.uint8)
    boxes_N4 = np.array([[0, 0, 9, 9], [2, 1, 5, 6], [0, 3, 4, 4], [1, 1, 8, 8], [0, 0, 3, 3]])
    flips_N = np.array([True, False, True, True, False])
    found = resize_boxes(pixels_NCHW, boxes_N4, flips_N, 12)
    plain = resize_boxes(pixels_NCHW, boxes_N4, np.zeros(5, bool), 12)
    expected = np.where(flips_N[:, None, None, None], plain[..., ::-1], plain)
    np.testing.assert_array_equal(found, expected)


def test_upscaling_is_torch_s_bilinear() -> None:
    pixels_NCHW = np.random.default_rng(0).integers(0, 256, (2, 3, 9, 9)).astype(np.uint8)
    boxes_N4 = np.array([[1, 2, 6, 7], [0, 0, 9, 9]])
    found = resize_boxes(pixels_NCHW, boxes_N4, NONE, 20)
    for place, (top, left, rows, columns) in enumerate(boxes_N4):
        part = torch.from_numpy(pixels_NCHW[place, :, top : top + rows, left : left + columns])
        expected = F.interpolate(part[None].float(), (20, 20), mode="bilinear")[0].numpy()
        assert np.abs(found[place] - expected).max() <= 1.5
