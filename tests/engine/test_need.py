from dataclasses import replace

import pytest

from reslab.engine.need import (
    LIBRARIES,
    StepNeed,
    choose_checkpoint_segments,
    choose_micro_batches,
    held_share,
    shortage,
)
from reslab.errors import UserError
from reslab.ops.scratch import Scratch

GIB = 2**30


def need(*, batch_size=100, least=1, image_bytes=GIB // 125, fixed=GIB, convolutions=1200):
    """By default a gibibyte of activations, all of them kept, and one besides."""
    return StepNeed(
        batch_size=batch_size,
        least=least,
        image_bytes=image_bytes,
        parameters=(fixed - LIBRARIES) // 20,
        convolutions=convolutions,
    )


def test_what_a_step_needs_is_told_in_bytes():
    found = need(batch_size=10, image_bytes=800, fixed=LIBRARIES + 20 * 7)
    assert found.fixed_bytes == LIBRARIES + 20 * 7
    assert (found.activations(0), found.activations(0, parts=3)) == (10_000, 4_000)
    assert found.activations(48) == int(8000 * held_share(48))
    assert (found.part_size(3), found.most_parts) == (4, 10)
    assert need(batch_size=11, least=2).most_parts == 5


def choose(asked="auto", *, memory=8 * GIB, free=8 * GIB, **about):
    return choose_checkpoint_segments(asked, need(**about), memory=memory, free=free)


def test_what_fits_easily_is_kept():
    choice = choose(image_bytes=2 * GIB // 100)
    assert (choice.setting, choice.value) == ("checkpoint_segments", 0)
    assert choice.reason == "the activations of a batch take 2.0 of 8 GiB"


def test_what_would_crowd_the_memory_is_computed_again_in_the_root_of_what_is_kept():
    choice = choose(image_bytes=2 * GIB // 100 + 1)
    assert choice.value == 48
    assert "too much to keep" in choice.reason


def test_what_does_not_fit_beside_others_is_computed_again_before_batches_are_cut():
    assert choose(free=3 * GIB).value == 0
    assert choose(free=2 * GIB).value == 48


@pytest.mark.parametrize("asked", [0, 7])
def test_a_number_is_taken_as_it_is(asked):
    choice = choose(asked, image_bytes=GIB)
    assert (choice.value, choice.reason) == (asked, "as asked")


def cut(asked="auto", *, free=3 * GIB, **about):
    return choose_micro_batches(asked, need(**about), segments=0, free=free)


def test_a_batch_that_fits_stays_whole():
    choice = cut()
    assert (choice.setting, choice.value) == ("micro_batches", 1)
    assert choice.reason == "a step takes 2.0 of 3.0 GiB that are free"


@pytest.mark.parametrize(
    ("fixed", "parts", "seen"),
    [(2 * GIB, 2, 50), (int(2.5 * GIB), 8, 13), (int(2.65 * GIB), 32, 4)],
)
def test_one_that_does_not_is_cut(fixed, parts, seen):
    choice = cut(fixed=fixed)
    assert choice.value == parts
    assert (
        f"in {parts} parts, and batch norm, where there is any, sees {seen} images at a time"
        in choice.reason
    )


def test_segments_are_reckoned_with():
    about = need(fixed=2 * GIB)
    assert choose_micro_batches("auto", about, segments=48, free=3 * GIB).value == 1


def test_where_not_even_the_smallest_parts_fit_that_is_told():
    with pytest.raises(UserError, match=r"expected 5.3 GiB for 1 images at a time, received 3.0"):
        cut(image_bytes=3 * GIB)
    with pytest.raises(UserError, match=r"expected 3.9 GiB for 2 images at a time, received 3.0"):
        cut(batch_size=32, least=2, image_bytes=GIB)
    assert cut(batch_size=3, image_bytes=GIB).value == 3


def test_no_part_has_fewer_images_than_the_net_must_see():
    assert cut(50, least=2).value == 50
    with pytest.raises(UserError, match="at most 50, for 2 or more images each, received 51"):
        cut(51, least=2)
    assert cut(100).value == 100
    with pytest.raises(UserError, match="at most 100"):
        cut(101)


def test_too_little_for_what_was_asked_is_warned_about():
    assert shortage(need(), segments=0, parts=1, free=3 * GIB) is None
    told = shortage(need(), segments=0, parts=1, free=2 * GIB)
    assert told.startswith("a step takes 2.0 of 2.0 GiB that are free: the training may be killed")
    assert shortage(need(), segments=0, parts=4, free=2 * GIB) is None
    assert shortage(need(), segments=48, parts=1, free=2 * GIB) is None


def test_scratch_of_the_greediest_convolution_is_part_of_a_step():
    modest = Scratch(image_bytes=3, most_bytes=1000, fixed_bytes=500)
    greedy = Scratch(image_bytes=100, most_bytes=1000, fixed_bytes=1)
    plain = need(batch_size=10, image_bytes=800)
    ours = replace(plain, scratch=(modest, greedy))
    assert ours.step_bytes(0) - plain.step_bytes(0) == 1001
    # In parts of three images.
    assert ours.step_bytes(0, parts=4) - plain.step_bytes(0, parts=4) == 509


def test_scratch_may_be_what_cuts_a_batch():
    scratch = Scratch(image_bytes=GIB // 50, most_bytes=10 * GIB, fixed_bytes=0)
    asked = replace(need(), scratch=(scratch,))
    assert choose_micro_batches("auto", asked, segments=0, free=3 * GIB).value == 2
    assert choose_micro_batches("auto", need(), segments=0, free=3 * GIB).value == 1
