"""Scaled pictures: the kernel's, torch's, and the weights against the definition."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from reslab.ops import resample
from reslab.ops.resample import fits, make_filter, scale_picture, sum_planes


def by_torch(pixels_HWC: np.ndarray, rows: int, columns: int) -> np.ndarray:
    image = torch.from_numpy(np.ascontiguousarray(pixels_HWC)).permute(2, 0, 1)[None]
    scaled = F.interpolate(image, (rows, columns), mode="bilinear", antialias=True)
    return scaled[0].contiguous().numpy()


def picture(seed: int, rows: int, columns: int, channels: int = 3, edges: bool = False):
    """A part of a larger picture, of noise or of black and white alone."""
    rng = np.random.default_rng(seed)
    whole = rng.integers(0, 256, (rows + 3, columns + 2, channels)).astype(np.uint8)
    if edges:
        whole = np.where(whole > 127, 255, 0).astype(np.uint8)
    return whole[1 : rows + 1, 2:]


SIDES = st.integers(1, 200)


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, SIDES, SIDES, st.booleans(), st.integers(0, 99))
def test_the_kernel_gives_the_bits_of_torch(kernels, rows, columns, high, wide, edges, seed):
    pixels = picture(seed, rows, columns, edges=edges)
    assert fits(pixels)
    found = resample._by_kernel(kernels, pixels, high, wide)
    np.testing.assert_array_equal(found, by_torch(pixels, high, wide))


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (375, 500), (3000, 7), (2, 4000)])
def test_pictures_of_odd_shapes(kernels, rows, columns):
    pixels = picture(0, rows, columns)
    found = resample._by_kernel(kernels, pixels, 224, 224)
    np.testing.assert_array_equal(found, by_torch(pixels, 224, 224))


AT_THE_EDGE = """
import ctypes, mmap
import numpy as np
from reslab.ops.native import find_kernels
from reslab.ops.resample import _by_kernel
page = mmap.PAGESIZE
memory = mmap.mmap(-1, 4 * page)
start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
# Whoever reads the last page is ended by the system.
assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(start + 3 * page), page, 0) == 0
pixels = np.frombuffer(memory, np.uint8)[3 * page - 30 * 31 * 3 : 3 * page].reshape(30, 31, 3)
for side in (7, 30, 31, 90):
    _by_kernel(find_kernels().kernels, pixels, side, side)
"""


def test_nothing_is_read_behind_the_last_pixel(kernels):
    del kernels
    done = subprocess.run([sys.executable, "-c", AT_THE_EDGE], check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("has_kernels", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("order", ["C", "mirrored", "transposed"])
def test_any_layout_and_machine(monkeypatch, kernels, has_kernels, channels, order):
    monkeypatch.setattr(resample, "built_kernels", lambda: kernels if has_kernels else None)
    pixels = picture(1, 30, 40, channels)
    pixels = {"C": pixels, "mirrored": pixels[:, ::-1], "transposed": pixels.transpose(1, 0, 2)}[
        order
    ]
    found = scale_picture(pixels, 20, 50)
    assert found.flags.c_contiguous and found.shape == (channels, 20, 50)
    np.testing.assert_array_equal(found, by_torch(pixels, 20, 50))


@pytest.mark.parametrize("has_kernels", [True, False])
@pytest.mark.parametrize("shape", [(1, 30), (30, 1), (1, 1), (5, 7)])
def test_mirrored_pictures_of_one_row_or_column(monkeypatch, kernels, has_kernels, shape):
    monkeypatch.setattr(resample, "built_kernels", lambda: kernels if has_kernels else None)
    pixels = picture(3, *shape)
    for turned in (pixels[::-1], pixels[:, ::-1], pixels[::-1, ::-1]):
        expected = by_torch(np.array(turned, order="C"), 4, 4)
        np.testing.assert_array_equal(scale_picture(turned, 4, 4), expected)


def test_filters_of_endless_pictures_are_not_kept(monkeypatch, kernels):
    monkeypatch.setattr(resample, "built_kernels", lambda: kernels)
    make_filter.cache_clear()
    pixels = picture(0, 2, 40 * 65)
    np.testing.assert_array_equal(scale_picture(pixels, 40, 40), by_torch(pixels, 40, 40))
    assert make_filter.cache_info().currsize == 0


def test_filters_for_pictures_of_many_sides_are_kept():
    make_filter.cache_clear()
    for _ in range(2):
        for side in range(200, 1000):
            make_filter(side, 2)
    assert make_filter.cache_info().misses == 800


def test_weights_are_a_triangle():
    # From four pixels to two: each reaches two pixels to both sides of its middle.
    found = make_filter(4, 2)
    weights = found.weights_NT / 2.0**found.shift
    assert found.first_N.tolist() == [0, 1]
    np.testing.assert_allclose(weights, np.array([[3, 3, 1, 0], [1, 3, 3, 0]]) / 7, atol=2e-5)


@given(st.integers(1, 5000), st.integers(1, 500))
def test_weights_are_short_even_and_come_to_one(pixels, wanted):
    found = make_filter(pixels, wanted)
    taps = found.weights_NT.shape[1]
    assert taps % 2 == 0 and (found.weights_NT >= 0).all()
    sums = found.weights_NT.astype(np.int64).sum(axis=1) / 2.0**found.shift
    np.testing.assert_allclose(sums, 1.0, atol=taps * 2.0**-found.shift)
    reached = (found.weights_NT > 0) * (found.first_N[:, None] + np.arange(taps))
    assert reached.max() < pixels


@pytest.mark.parametrize("has_kernels", [True, False])
@pytest.mark.parametrize("shape", [(3, 224, 224), (1, 1, 1), (2, 65, 63), (1, 700, 700)])
def test_sums_are_exact(monkeypatch, kernels, has_kernels, shape):
    monkeypatch.setattr(resample, "built_kernels", lambda: kernels if has_kernels else None)
    noise = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    for pixels in (np.full(shape, 255, np.uint8), noise):
        wide = pixels.reshape(len(pixels), -1).astype(object)
        sums, squares = sum_planes(pixels)
        assert sums.tolist() == wide.sum(axis=1).tolist()
        assert squares.tolist() == (wide**2).sum(axis=1).tolist()
