import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reslab.data.normalise import Normaliser, measure_normaliser


def bytes_of(*shape, seed=0, low=0, high=256):
    return np.random.default_rng(seed).integers(low, high, shape).astype(np.uint8)


@given(
    n=st.integers(1, 4),
    channels=st.sampled_from([1, 3]),
    side=st.integers(1, 6),
    low=st.integers(0, 255),
    seed=st.integers(0, 99),
)
@settings(deadline=None)
def test_mean_and_sd_are_those_of_numpy(n, channels, side, low, seed):
    pixels = bytes_of(n, channels, side, side, seed=seed, low=low)
    normaliser = measure_normaliser(pixels)
    scaled = pixels.astype(np.float64) / 255
    sds = scaled.std(axis=(0, 2, 3))
    sds[np.ptp(pixels, axis=(0, 2, 3)) == 0] = 1.0
    assert np.allclose(normaliser.mean, scaled.mean(axis=(0, 2, 3)), rtol=1e-12)
    assert np.allclose(normaliser.sd, sds, rtol=1e-9)
    assert all(type(value) is float for value in (*normaliser.mean, *normaliser.sd))


@pytest.mark.parametrize("level", [0, 1, 77, 255])
def test_a_channel_that_never_changes_becomes_zero(level):
    pixels = bytes_of(3, 3, 4, 4)
    pixels[:, 1] = level
    normaliser = measure_normaliser(pixels)
    assert normaliser.sd[1] == 1.0
    assert normaliser.mean[1] == level / 255
    out = normaliser(pixels)
    assert torch.isfinite(out).all()
    assert out[:, 1].abs().max() < 1e-6


def test_a_single_odd_pixel_is_still_seen():
    pixels = np.full((10, 1, 100, 100), 254, np.uint8)
    pixels[0, 0, 0, 0] = 255
    sd = (pixels.astype(np.float64) / 255).std()
    assert measure_normaliser(pixels).sd[0] == pytest.approx(sd, rel=1e-4)


@given(
    mean=st.floats(0, 1),
    sd=st.floats(0.01, 1),
    channels=st.sampled_from([1, 3]),
    n=st.integers(0, 3),
)
@settings(deadline=None)
def test_the_result_is_the_formula(mean, sd, channels, n):
    normaliser = Normaliser((mean,) * channels, (sd,) * channels)
    pixels = bytes_of(n, channels, 5, 4)
    before = pixels.copy()
    out = normaliser(pixels)
    assert out.dtype == torch.float32
    assert tuple(out.shape) == pixels.shape
    expected = (pixels.astype(np.float64) / 255 - mean) / sd
    assert np.allclose(out.numpy(), expected, rtol=1e-5, atol=1e-5 / sd)
    assert np.array_equal(pixels, before)


def test_each_channel_has_its_own():
    normaliser = Normaliser((0.0, 0.5, 1.0), (1.0, 0.5, 0.25))
    white = normaliser(np.full((1, 3, 1, 1), 255, np.uint8))
    assert white.flatten().tolist() == pytest.approx([1.0, 1.0, 0.0], abs=1e-6)


def test_what_it_was_measured_on_becomes_standard():
    pixels = bytes_of(20, 3, 8, 8, high=200)
    out = measure_normaliser(pixels)(pixels).double()
    assert out.mean(dim=(0, 2, 3)).numpy() == pytest.approx(0, abs=1e-6)
    assert out.std(dim=(0, 2, 3), unbiased=False).numpy() == pytest.approx(1, abs=1e-6)


def test_the_mean_pixel_normalises_to_about_zero():
    normaliser = measure_normaliser(bytes_of(4, 3, 8, 8))
    pixel = normaliser.mean_pixel()
    assert pixel.dtype == np.uint8
    assert pixel.shape == (3,)
    rounding = 0.5 / 255 / min(normaliser.sd)
    assert normaliser(pixel[None, :, None, None]).abs().max() <= rounding + 1e-6
    assert Normaliser((0.0, 1.0), (1.0, 1.0)).mean_pixel().tolist() == [0, 255]


def test_as_many_means_as_sds():
    with pytest.raises(ValueError, match="argument"):
        Normaliser((0.5, 0.5), (1.0,))(bytes_of(1, 2, 1, 1))


def test_pieces_are_normalised_as_a_whole(monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (7, 3, 4, 5)).astype(np.uint8)
    normaliser = Normaliser((0.2, 0.5, 0.6), (0.1, 0.3, 0.2))
    whole = normaliser(pixels)
    monkeypatch.setattr("reslab.data.normalise._PIECE", 2 * 60)
    assert torch.equal(normaliser(pixels), whole)
    assert normaliser(pixels[:0]).shape == (0, 3, 4, 5)
