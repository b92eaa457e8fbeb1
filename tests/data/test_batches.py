import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reslab.data.batches import TrainBatches
from reslab.data.normalise import Normaliser
from reslab.data.source import Images


def numbered(n, channels=1, side=6):
    """Images whose label is their number, so that a batch tells what is in it."""
    pixels = np.random.default_rng(0).integers(0, 256, (n, channels, side, side))
    return Images(pixels.astype(np.uint8), np.arange(n))


def make(n=23, batch_size=4, channels=1, **options):
    options = {"pad": 2, "crop": 6, "flip": True, "cutout": 2} | options
    return TrainBatches(
        images=numbered(n, channels),
        normaliser=Normaliser((0.5,) * channels, (0.25,) * channels),
        batch_size=batch_size,
        **options,
    )


def labels(source, epoch):
    return [source.batch(epoch, step).labels_N.tolist() for step in range(source.steps_per_epoch)]


def order(source, epoch):
    return [label for batch in labels(source, epoch) for label in batch]


def equal(one, other):
    return torch.equal(one.images_NCHW, other.images_NCHW) and torch.equal(
        one.labels_N, other.labels_N
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_is_what_a_net_takes(channels):
    batch = make(channels=channels, crop=5).batch(0, 0)
    assert batch.images_NCHW.dtype == torch.float32
    assert tuple(batch.images_NCHW.shape) == (4, channels, 5, 5)
    assert batch.labels_N.dtype == torch.int64
    assert tuple(batch.labels_N.shape) == (4,)


def test_a_batch_does_not_depend_on_what_was_asked_before():
    places = [(epoch, step) for epoch in range(4) for step in range(5)]
    one = make()
    forwards = {place: one.batch(*place) for place in places}
    np.random.default_rng(1).shuffle(places)
    other = make()
    for place in [*places, *reversed(places)]:
        assert equal(other.batch(*place), forwards[place])
    alone = make().batch(3, 4)
    assert equal(alone, forwards[3, 4])


def test_global_random_states_neither_matter_nor_move():
    before = make().batch(0, 0)
    torch.manual_seed(1)
    np.random.seed(1)
    state = torch.get_rng_state(), np.random.get_state()[1].copy()
    assert equal(make().batch(0, 0), before)
    assert torch.equal(torch.get_rng_state(), state[0])
    assert np.array_equal(np.random.get_state()[1], state[1])


@given(
    n=st.integers(1, 40),
    batch_size=st.integers(1, 40),
    epoch=st.integers(0, 500),
    seed=st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=40)
def test_an_epoch_repeats_no_image_and_leaves_out_the_incomplete_batch(n, batch_size, epoch, seed):
    source = make(n, batch_size, order_seed=seed)
    found = labels(source, epoch)
    assert len(found) == source.steps_per_epoch == n // batch_size
    assert all(len(batch) == batch_size for batch in found)
    seen = [label for batch in found for label in batch]
    assert len(set(seen)) == len(seen)
    assert set(seen) <= set(range(n))


def test_every_image_has_its_turn():
    source = make(n=7, batch_size=4)
    left_out = [frozenset(range(7)) - set(order(source, epoch)) for epoch in range(30)]
    assert all(len(images) == 3 for images in left_out)
    assert len(set(left_out)) > 5
    assert not frozenset.intersection(*left_out)


def test_the_order_differs_between_epochs_and_between_seeds():
    orders = [tuple(order(make(order_seed=seed), epoch)) for seed in range(3) for epoch in range(4)]
    assert len(set(orders)) == 12
    assert tuple(range(20)) not in orders


def test_pixels_are_those_of_the_label():
    source = make(pad=0, crop=6, flip=False, cutout=0, channels=3)
    for epoch in range(2):
        pixels, numbers = source.pixels(epoch, 1)
        assert np.array_equal(pixels, source.images.pixels_NCHW[numbers.numpy()])


def test_the_augmentation_seed_changes_pixels_and_not_labels():
    one, other = make(augmentation_seed=1), make(augmentation_seed=2)
    assert order(one, 0) == order(other, 0)
    for step in range(5):
        assert not equal(one.batch(0, step), other.batch(0, step))


def test_the_order_seed_changes_labels_and_not_what_is_drawn():
    # Equal images show what is drawn, whichever of them come.
    same = Images(np.repeat(numbered(1).pixels_NCHW, 23, axis=0), np.arange(23))
    one = dataclasses.replace(make(order_seed=1), images=same)
    other = dataclasses.replace(make(order_seed=2), images=same)
    assert not torch.equal(one.batch(0, 0).labels_N, other.batch(0, 0).labels_N)
    assert torch.equal(one.batch(0, 0).images_NCHW, other.batch(0, 0).images_NCHW)


def test_every_step_draws_anew():
    same = Images(np.repeat(numbered(1).pixels_NCHW, 20, axis=0), np.arange(20))
    source = dataclasses.replace(make(), images=same)
    drawn = {
        source.batch(epoch, step).images_NCHW.numpy().tobytes()
        for epoch in range(3)
        for step in range(5)
    }
    assert len(drawn) == 15


def test_no_two_draws_come_from_the_same_stream(monkeypatch):
    states = []
    make_generator = np.random.default_rng

    def record(*arguments):
        generator = make_generator(*arguments)
        states.append(generator.bit_generator.state["state"]["state"])
        return generator

    source = make(order_seed=5, augmentation_seed=5)
    monkeypatch.setattr(np.random, "default_rng", record)
    for step in range(3):
        source.batch(0, step)
    assert len(states) == 4
    assert len(set(states)) == 4


@pytest.mark.parametrize(
    ("name", "value"), [("pad", 1), ("crop", 5), ("flip", False), ("cutout", 0)]
)
def test_every_option_reaches_the_pixels(name, value):
    one, _ = make(n=20, batch_size=20).pixels(0, 0)
    other, _ = make(n=20, batch_size=20, **{name: value}).pixels(0, 0)
    assert not np.array_equal(one, other)


def test_cutout_hides_with_the_mean_pixel():
    source = make(pad=0, flip=False, cutout=2)
    whole = dataclasses.replace(source, cutout=0)
    pixels, _ = source.pixels(0, 0)
    before, _ = whole.pixels(0, 0)
    assert set(pixels[pixels != before]) == {int(source.normaliser.mean_pixel()[0])}


def test_normalisation_comes_last():
    source = make()
    pixels, numbers = source.pixels(1, 2)
    batch = source.batch(1, 2)
    assert torch.equal(batch.images_NCHW, source.normaliser(pixels))
    assert torch.equal(batch.labels_N, numbers)


def test_a_batch_may_be_written_to_without_harm():
    source = make(pad=0, flip=False, cutout=0)
    before = source.images.fingerprint()
    first = source.batch(0, 0)
    kept = first.images_NCHW.clone()
    pixels, numbers = source.pixels(0, 0)
    pixels[:] = 0
    numbers.zero_()
    first.images_NCHW.zero_()
    assert source.images.fingerprint() == before
    assert torch.equal(source.batch(0, 0).images_NCHW, kept)


def imbalanced(seed=0, batch_size=5, **options):
    """30 images of class 0, 6 of class 1, 1 of class 3; the image's number is its first pixel."""
    pixels = np.zeros((37, 1, 6, 6), np.uint8)
    pixels[:, 0, 0, 0] = np.arange(37)
    images = Images(pixels, np.repeat([0, 1, 3], [30, 6, 1]))
    return TrainBatches(
        images=images,
        normaliser=Normaliser((0.5,), (0.25,)),
        batch_size=batch_size,
        crop=6,
        order_seed=seed,
        balanced=True,
        **options,
    )


@pytest.mark.parametrize("epoch", range(3))
def test_balanced_draws_are_as_many_of_each_class(epoch):
    source = imbalanced(batch_size=1)
    drawn = [int(source.positions(epoch, step)[0]) for step in range(37)]
    counts = np.bincount(source.images.labels_N[drawn], minlength=4)
    assert counts[2] == 0
    assert sorted(counts[[0, 1, 3]]) == [12, 12, 13]
    # All six of class 1 come twice before one of them comes a third time.
    of_one = np.bincount(drawn, minlength=37)[30:36]
    assert of_one.min() == 2
    assert of_one.max() <= 3
    assert np.bincount(drawn, minlength=37)[:30].max() == 1


def test_balanced_draws_are_a_function_of_seed_and_epoch():
    assert order(imbalanced(), 2) == order(imbalanced(), 2)
    first = [imbalanced().positions(0, step).tolist() for step in range(7)]
    assert first != [imbalanced().positions(1, step).tolist() for step in range(7)]
    assert first != [imbalanced(seed=1).positions(0, step).tolist() for step in range(7)]


def test_of_balanced_classes_every_image_is_drawn_once():
    source = dataclasses.replace(make(n=20, batch_size=1), balanced=True)
    assert sorted(order(source, 0)) == list(range(20))
