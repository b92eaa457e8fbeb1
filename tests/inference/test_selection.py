"""The choice among engines, with times that are planted."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from reslab.engine.load import Load
from reslab.engine.machine import inspect_machine
from reslab.engine.runtime import Runtime
from reslab.errors import UserError
from reslab.inference import memo, selection
from reslab.inference.catalog import Obstacle
from reslab.inference.choose import FEW_IMAGES
from reslab.inference.eager import compute_logits
from reslab.inference.memo import Measured
from reslab.inference.session import Session
from reslab.models.blocks import BasicBlock
from reslab.models.resnet import ResNet
from tests.inference.planted import (
    NORMALISER,
    PIXELS,
    Static,
    check,
    counted,
    name_int8,
    opened,
    planted,
)

# --- which engine ---------------------------------------------------------------------------


def test_few_images_are_left_to_the_net_itself_and_nothing_is_measured(model, times) -> None:
    asked = times(eager=3.0, folded=2.0)
    at_work = opened(model)
    found = at_work.outputs(PIXELS[: FEW_IMAGES - 1])
    assert (at_work.engine, asked) == ("eager", [])
    np.testing.assert_array_equal(
        found,
        compute_logits(model, PIXELS[: FEW_IMAGES - 1], NORMALISER, Runtime(), batch_size=4),
    )
    assert not memo.memo_path().exists()


def test_more_images_begin_folded_and_short_work_is_not_measured(model, times) -> None:
    asked = times(eager=3.0, folded=2.0)
    at_work = opened(model)
    check(at_work.outputs(PIXELS), model)
    assert (at_work.engine, asked) == ("folded", [])


def test_long_work_is_measured_after_two_batches_and_remembered(
    model, engines, times, long_work
) -> None:
    engines(planted("Static"))
    asked = times(eager=3.0, folded=2.0, static=1.0)
    told: list[str] = []
    at_work = opened(model, tell=told.append)
    check(at_work.outputs(PIXELS[:63]), model, 63)
    assert at_work.engine == "static"
    assert sorted(asked[0]) == ["eager", "folded", "static"] and len(asked) == 1
    # Prepared and compared with 8 rows in 2 calls, timed in one; then 13 of 15 whole batches. The
    # last three images are no batch that it could take.
    assert Static.sizes == [4] * (2 + 1 + 13)
    assert any("engine static" in text and "1000.00 ms for a batch of 4" in text for text in told)
    # The next one knows, and begins with it.
    Static.sizes.clear()
    again = opened(model)
    check(again.outputs(PIXELS), model)
    assert again.engine == "static" and len(asked) == 1
    assert len(Static.sizes) == 2 + 16


def test_a_long_preparation_is_weighed_against_the_work(model, engines, monkeypatch) -> None:
    engines(planted("Static"))
    # Whatever the batches take here, what is not known stays so.
    monkeypatch.setattr(selection, "worth_trying", lambda *_: [])
    at_work = opened(model)
    shape = (4, *PIXELS.shape[1:])
    key = memo.key_of(model, shape, Runtime(), inspect_machine())
    found = {
        "eager": Measured(batch_seconds=0.2),
        "static": Measured(setup_seconds=1.0, batch_seconds=0.1),
    }
    memo.remember(key, found)
    at_work.outputs(PIXELS[:20])
    assert at_work.engine == "eager" and not Static.sizes
    # The same images, and many more to come.
    longer = opened(model, images=1000)
    longer.outputs(PIXELS[:20])
    assert longer.engine == "static"


def test_another_batch_or_net_was_not_measured(model, engines, times, long_work) -> None:
    engines(planted("Static"))
    asked = times(eager=3.0, folded=2.0, static=1.0)
    opened(model).outputs(PIXELS)
    opened(model, batch_size=5).outputs(PIXELS)
    torch.manual_seed(0)
    other = ResNet(BasicBlock, (2,), (4,), num_classes=3, stem="small")
    opened(other).outputs(PIXELS)
    assert len(asked) == 3


def test_only_what_is_not_known_is_measured_later(model, engines, times, long_work) -> None:
    asked = times(eager=3.0, folded=2.0, static=1.0)
    opened(model).outputs(PIXELS)
    assert asked == []  # beside folded there was nothing to try
    engines(planted("Static"))
    opened(model).outputs(PIXELS)
    engines(planted("Static"), planted("Greedy"))
    at_work = opened(model)
    times(static=1.0, folded=2.0, greedy=0.5)
    with pytest.warns(UserWarning, match="memory is too short for the engine greedy"):
        check(at_work.outputs(PIXELS), model)
    # Static was in use and Greedy new.
    assert sorted(asked[-1]) == ["greedy", "static"]


def test_measuring_that_was_asked_for_tries_all_whatever_it_takes(model, engines, times) -> None:
    engines(planted("Static", setup=(1e9, 0.0)), planted("Incapable"))
    asked = times(eager=3.0, folded=1.0, static=2.0)
    told: list[str] = []
    at_work = opened(model, engine="measure", tell=told.append)
    check(at_work.outputs(PIXELS[:8]), model, 8)
    assert at_work.engine == "folded"
    assert sorted(asked[0]) == ["eager", "folded", "static"]
    assert any("incapable: could not be made ready: operator not supported" in t for t in told)
    again = opened(model, engine="measure")
    again.outputs(PIXELS[:8])
    assert len(asked) == 2


def test_what_was_measured_beside_others_is_used_and_not_kept(
    model, engines, times, long_work, monkeypatch
) -> None:
    class Busy(Load):
        def others(self) -> float:
            return float(self.cpus)

    monkeypatch.setattr(selection, "Load", Busy)
    engines(planted("Static"))
    asked = times(eager=3.0, folded=2.0, static=1.0)
    told: list[str] = []
    for _ in range(2):
        at_work = opened(model, tell=told.append)
        at_work.outputs(PIXELS)
        assert at_work.engine == "static"
    assert len(asked) == 2
    assert any("CPUs busy" in text and "not kept" in text for text in told)
    assert not memo.memo_path().exists()


def test_what_cannot_be_used_here_is_not_tried(model, engines, times, long_work) -> None:
    engines(planted("Static", packages=("no_such_package",)), planted("Greedy", devices=("mps",)))
    asked = times(eager=3.0, folded=2.0)
    for _ in range(2):
        at_work = opened(model)
        at_work.outputs(PIXELS)
        assert at_work.engine == "folded"
    assert asked == []


# --- engines at fault -----------------------------------------------------------------------


def test_one_that_disagrees_is_left_out_and_told(model, engines, times, long_work) -> None:
    engines(planted("Wrong"), planted("Static"))
    asked = times(eager=3.0, folded=2.0, static=1.0)
    said: list[str] = []
    at_work = opened(model, warn=said.append)
    check(at_work.outputs(PIXELS), model)
    assert at_work.engine == "static" and "wrong" not in asked[0]
    assert len(said) == 1 and said[0].startswith("the engine wrong is left out: an output")
    explicit = opened(model, engine="wrong")
    with pytest.warns(UserWarning, match="the engine wrong is left out"):
        check(explicit.outputs(PIXELS), model)
    assert explicit.engine == "eager"


def test_one_that_was_fastest_and_now_disagrees_gives_way_to_the_next(model, engines) -> None:
    engines(planted("Wrong"), planted("Static"))
    at_work = opened(model, warn=lambda text: None)
    key = memo.key_of(model, (4, *PIXELS.shape[1:]), Runtime(), inspect_machine())
    found = {"wrong": 1.0, "static": 2.0, "eager": 3.0}
    memo.remember(key, {name: Measured(batch_seconds=s) for name, s in found.items()})
    check(at_work.outputs(PIXELS), model)
    assert at_work.engine == "static"


def test_one_that_cannot_take_the_net_is_not_tried_again(model, engines, times, long_work) -> None:
    engines(planted("Incapable"))
    asked = times(eager=3.0, folded=2.0)
    for _ in range(2):
        at_work = opened(model)
        check(at_work.outputs(PIXELS), model)
        assert at_work.engine == "folded"
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("incapable", "the engine incapable could not be made ready: received operator not supp"),
        ("starving", "too little memory to make the engine starving ready: received out of memory"),
    ],
)
def test_one_that_was_asked_for_has_no_other_in_its_stead(model, engines, name, said) -> None:
    engines(planted(name.title()))
    at_work = opened(model, engine=name)
    for _ in range(2):
        with pytest.raises(UserError, match=f"{said}.*; let --engine auto choose another"):
            at_work.outputs(PIXELS)


def test_unknown_and_unusable_engines_are_refused_at_once(model) -> None:
    with pytest.raises(UserError, match="did you mean 'openvino'"):
        opened(model, engine="opnvino")
    cuda = Runtime(device="cuda")
    with pytest.raises(UserError, match="works on cpu and not on cuda"):
        Session(model, NORMALISER, cuda, engine="inductor")


# --- int8 -----------------------------------------------------------------------------------


def test_auto_takes_int8_where_it_is_fastest_and_says_so_once(
    model, int8, times, long_work
) -> None:
    times(eager=3.0, folded=2.0, turned=1.0)
    told: list[str] = []
    at_work = opened(model, quantized=counted, tell=told.append)
    at_work.outputs(PIXELS)
    assert at_work.engine == "turned"
    assert at_work.computed == {"folded": 8, "turned": 56}
    assert sum("--engine eager keeps" in text for text in told) == 1


def test_times_of_another_runs_model_are_no_reason_to_use_one_that_is_not_there(
    model, int8, times, long_work
) -> None:
    asked = times(eager=3.0, folded=2.0, turned=1.0)
    opened(model, quantized=counted).outputs(PIXELS)
    assert len(asked) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        at_work = opened(model)
        check(at_work.outputs(PIXELS), model)
    assert at_work.engine == "folded" and len(asked) == 1
    with pytest.raises(UserError, match="turned cannot be used: there is no int8 model of this"):
        opened(model, engine="turned")


def test_a_model_that_is_stale_is_told_once_and_left_out(model, int8, times, long_work) -> None:
    asked = times(eager=3.0, folded=2.0, turned=1.0)
    said: list[str] = []
    stale = Obstacle("it is of other weights", "make it anew", is_news=True)
    at_work = opened(model, quantized=lambda: stale, warn=said.append)
    check(at_work.outputs(PIXELS), model)
    assert at_work.engine == "folded" and asked == []
    assert said == ["it is of other weights; make it anew"]


def test_more_changes_than_it_was_judged_with_leave_it_out(model, int8) -> None:
    at_work = opened(model, engine="turned", quantized=lambda: counted(1))
    with pytest.warns(UserWarning, match="64 of 64 images another class, where it gave 1 of 64"):
        check(at_work.outputs(PIXELS), model)
    assert at_work.engine == "eager"


def test_a_damaged_model_is_no_fault_of_the_architecture(model, engines, monkeypatch) -> None:
    engines(planted("Incapable", precision="int8"))
    name_int8(monkeypatch, "incapable")
    for name in ("measure", "auto"):
        opened(model, engine=name, quantized=counted).outputs(PIXELS)
    kept = memo.recall(memo.key_of(model, (4, 3, 5, 5), Runtime(), inspect_machine()))
    assert "incapable" not in kept
    with pytest.raises(UserError, match="incapable could not be made ready: received "):
        opened(model, engine="incapable", quantized=counted).outputs(PIXELS)
