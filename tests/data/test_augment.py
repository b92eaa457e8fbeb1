import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import v2

from reslab.data.augment import (
    augment,
    crop_and_flip,
    draw_rectangles,
    erase,
    trivial_augment,
)


def bytes_of(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def slow_crop_and_flip(pixels, pad, level, size, offsets, flips):
    """The same, pixel by pixel, without ever building a padded image."""
    n, channels, height, width = pixels.shape
    out = np.full((n, channels, size, size), level, np.uint8)
    for i in range(n):
        for c in range(channels):
            for row in range(size):
                for column in range(size):
                    source_row = offsets[i][0] + row - pad
                    source_column = offsets[i][1] + column - pad
                    target = size - 1 - column if flips[i] else column
                    if 0 <= source_row < height and 0 <= source_column < width:
                        out[i, c, row, target] = pixels[i, c, source_row, source_column]
    return out


def slow_erase(pixels, first, sizes, fill):
    out = pixels.copy()
    for i, ((row, column), (rows, columns)) in enumerate(zip(first, sizes, strict=True)):
        for r in range(row, row + rows):
            for c in range(column, column + columns):
                if 0 <= r < pixels.shape[2] and 0 <= c < pixels.shape[3]:
                    for channel in range(pixels.shape[1]):
                        out[i, channel, r, c] = fill[channel]
    return out


@st.composite
def crops(draw):
    n, channels = draw(st.integers(1, 3)), draw(st.sampled_from([1, 3]))
    height, width, pad = draw(st.integers(1, 6)), draw(st.integers(1, 6)), draw(st.integers(0, 3))
    size = draw(st.integers(1, min(height, width) + 2 * pad))
    offsets = [
        (
            draw(st.integers(0, height + 2 * pad - size)),
            draw(st.integers(0, width + 2 * pad - size)),
        )
        for _ in range(n)
    ]
    flips = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    return (
        bytes_of(n, channels, height, width, seed=draw(st.integers(0, 9))),
        pad,
        draw(st.sampled_from([0, 128, 255])),
        size,
        offsets,
        flips,
    )


@given(crops())
@settings(deadline=None, max_examples=80)
def test_crop_and_flip_is_the_slow_one(problem):
    pixels, pad, level, size, offsets, flips = problem
    before = pixels.copy()
    pixels.flags.writeable = False
    out = crop_and_flip(
        pixels,
        pad=pad,
        level=level,
        size=size,
        offsets_N2=np.array(offsets),
        flips_N=np.array(flips),
    )
    assert np.array_equal(out, slow_crop_and_flip(pixels, pad, level, size, offsets, flips))
    assert out.dtype == np.uint8
    assert out.flags.c_contiguous
    assert np.array_equal(pixels, before)


@st.composite
def erasings(draw):
    n, channels = draw(st.integers(1, 3)), draw(st.sampled_from([1, 3]))
    height, width = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    first = [(draw(st.integers(-4, 5)), draw(st.integers(-4, 5))) for _ in range(n)]
    sizes = [(draw(st.integers(0, 8)), draw(st.integers(0, 8))) for _ in range(n)]
    fill = bytes_of(channels, seed=draw(st.integers(0, 9)))
    return bytes_of(n, channels, height, width), first, sizes, fill


@given(erasings())
@settings(deadline=None, max_examples=80)
def test_erasing_is_the_slow_one(problem):
    pixels, first, sizes, fill = problem
    pixels.flags.writeable = False
    out = erase(pixels, first_N2=np.array(first), sizes_N2=np.array(sizes), fill_C=fill)
    assert np.array_equal(out, slow_erase(pixels, first, sizes, fill))
    assert out.dtype == np.uint8


def test_rectangles_have_the_areas_and_shapes_of_the_paper():
    n, size = 4000, 100
    first, sizes = draw_rectangles(np.random.default_rng(0), n, size=size, probability=1.0)
    assert (first >= 0).all() and (first + sizes <= size).all()
    share = sizes.prod(axis=1) / size**2
    assert 0.018 < share.min() < 0.03 and 0.31 < share.max() < 0.34
    aspect = sizes[:, 0] / sizes[:, 1]
    assert 0.28 < aspect.min() < 0.33 and 3.0 < aspect.max() < 3.6
    assert abs(np.median(aspect) - 1) < 0.1
    _, spared = draw_rectangles(np.random.default_rng(0), n, size=size, probability=0.25)
    drawn = spared.any(axis=1)
    assert 0.22 < drawn.mean() < 0.28
    # Whether an image is spared moves no other draw.
    assert np.array_equal(spared[drawn], sizes[drawn])
    for small in (1, 2, 3):
        first, sizes = draw_rectangles(np.random.default_rng(1), 50, size=small, probability=1.0)
        assert (sizes >= 1).all() and (first + sizes <= small).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_trivial_augment_is_that_of_torchvision_image_by_image(channels):
    pixels = bytes_of(12, channels, 9, 9)
    state = torch.get_rng_state()
    out = trivial_augment(pixels, 5)
    assert torch.equal(torch.get_rng_state(), state)
    assert out.dtype == np.uint8 and out.shape == pixels.shape
    assert np.array_equal(out, trivial_augment(pixels, 5))
    assert not np.array_equal(out, trivial_augment(pixels, 6))
    torch.manual_seed(5)
    first = v2.TrivialAugmentWide()(torch.from_numpy(pixels[0])).numpy()
    assert np.array_equal(out[0], first)


@pytest.mark.parametrize(
    ("side", "centre", "hidden"),
    [
        (2, (0, 0), 1),  # three quarters of the square lie outside
        (2, (3, 3), 4),
        (3, (0, 0), 4),
        (3, (3, 0), 4),
        (3, (1, 1), 9),
        (1, (3, 3), 1),
        (9, (1, 2), 16),
    ],
)
def test_the_centre_of_a_cutout_lies_anywhere_and_the_rest_is_cut_off(side, centre, hidden):
    class Drawn:
        """A generator whose third draw, of the centres, is known."""

        def __init__(self):
            self.rng, self.calls = np.random.default_rng(0), 0

        def integers(self, *arguments):
            self.calls += 1
            return np.array([centre]) if self.calls == 3 else self.rng.integers(*arguments)

        def __getattr__(self, name):
            return getattr(self.rng, name)

    fill = np.array([9], np.uint8)
    pixels = np.zeros((1, 1, 4, 4), np.uint8)
    out = augment(pixels, Drawn(), pad=0, crop=4, flip=False, cutout_side=side, fill_C=fill)
    assert np.sum(out == 9) == hidden


def test_what_came_later_leaves_the_older_draws_as_they_were():
    pixels = bytes_of(6, 1, 8, 8)
    plain = augmented(pixels, pad=2, crop=8, flip=True, cutout_side=3)
    erased = augmented(pixels, pad=2, crop=8, flip=True, cutout_side=3, erasing=1.0)
    changed = erased != plain
    assert changed.any()
    assert (erased[changed] == 200).all()


def augmented(pixels, seed=0, **options):
    options = {"pad": 0, "crop": pixels.shape[2], "flip": False, "cutout_side": 0} | options
    fill = np.arange(200, 200 + pixels.shape[1], dtype=np.uint8)
    return augment(pixels, np.random.default_rng(seed), fill_C=fill, **options)


def test_nothing_asked_is_nothing_done():
    pixels = bytes_of(5, 3, 4, 6)
    assert np.array_equal(augmented(pixels[:, :, :, :4]), pixels[:, :, :, :4])


@pytest.mark.parametrize("channels", [1, 3])
def test_the_same_state_gives_the_same_batch_and_another_gives_another(channels):
    pixels = bytes_of(8, channels, 6, 6)
    everything = {"pad": 2, "crop": 5, "flip": True, "cutout_side": 2}
    one = augmented(pixels, **everything)
    assert one.shape == (8, channels, 5, 5)
    assert one.dtype == np.uint8
    assert np.array_equal(one, augmented(pixels, **everything))
    assert not np.array_equal(one, augmented(pixels, seed=1, **everything))


@pytest.mark.parametrize("crop", [3, 4, 5, 6])
def test_every_sample_has_its_own_square_and_every_square_is_drawn(crop):
    # Each pixel tells its place, so that the first one tells the offset.
    place = np.arange(1, 17, dtype=np.uint8).reshape(1, 1, 4, 4)
    out = augmented(np.repeat(place, 600, axis=0), pad=1, crop=crop)
    padded = np.pad(place[0, 0], 1)
    reachable = {
        padded[r : r + crop, c : c + crop].tobytes()
        for r in range(7 - crop)
        for c in range(7 - crop)
    }
    assert {sample.tobytes() for sample in out} == reachable


def test_half_of_the_images_are_mirrored():
    pixels = np.repeat(bytes_of(1, 3, 4, 4), 400, axis=0)
    out = augmented(pixels, flip=True)
    mirrored = np.all(out == pixels[:, :, :, ::-1], axis=(1, 2, 3))
    straight = np.all(out == pixels, axis=(1, 2, 3))
    assert np.all(mirrored ^ straight)
    assert 150 < mirrored.sum() < 250


def test_no_image_is_mirrored_unless_asked():
    pixels = np.repeat(np.arange(1, 7, dtype=np.uint8).reshape(1, 1, 1, 6), 6, axis=2)
    out = augmented(np.repeat(pixels, 100, axis=0), pad=2, crop=6)
    row = out.max(axis=2).astype(int)
    for sample in row[:, 0]:
        image = sample[sample > 0]
        assert np.all(np.diff(image) == 1)


def test_switching_cutout_on_leaves_the_crops_as_they_were():
    pixels = bytes_of(50, 3, 6, 6)
    crop = {"pad": 2, "crop": 6, "flip": True}
    without, with_cutout = augmented(pixels, **crop), augmented(pixels, **crop, cutout_side=3)
    changed = without != with_cutout
    fill = np.broadcast_to(np.array([200, 201, 202])[:, None, None], changed.shape)
    assert np.array_equal(with_cutout[changed], fill[changed])
    hidden = changed.any(axis=1).sum(axis=(1, 2))
    assert np.all(hidden <= 9)
    assert np.any(hidden >= 8)
    assert len({sample.tobytes() for sample in changed.any(axis=1)}) > 10


def test_switching_the_flip_on_leaves_the_crops_as_they_were():
    pixels = bytes_of(50, 1, 6, 6)
    without = augmented(pixels, pad=2)
    flipped = augmented(pixels, pad=2, flip=True)
    same = np.all(flipped == without, axis=(1, 2, 3))
    mirror = np.all(flipped == without[:, :, :, ::-1], axis=(1, 2, 3))
    assert np.all(same | mirror)
    assert 0 < same.sum() < 50


def test_switching_the_flip_on_leaves_the_squares_as_they_were():
    # One colour looks the same mirrored: what differs is where the square is.
    pixels = np.zeros((50, 3, 6, 6), np.uint8)
    straight, flipped = (augmented(pixels, flip=flip, cutout_side=2) for flip in (False, True))
    assert np.array_equal(straight, flipped)
    assert len({sample.tobytes() for sample in straight}) > 10


@pytest.mark.parametrize(
    "options",
    [{"cutout_side": 3}, {"flip": True}, {"pad": 1}, {"crop": 3}],
    ids=lambda options: next(iter(options)),
)
def test_the_images_themselves_are_never_touched(options):
    pixels = bytes_of(20, 1, 5, 5)
    before = pixels.copy()
    out = augmented(pixels, **options)
    assert np.array_equal(pixels, before)
    out[:] = 0
    assert np.array_equal(pixels, before)
