"""Work that is done in batches by an engine; what engines give: tests/contract."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from reslab.errors import UserError
from tests.inference.planted import (
    PIXELS,
    Static,
    Turned,
    check,
    counted,
    expected,
    opened,
    planted,
)


@pytest.mark.parametrize("count", [1, 3, 4, 30])
def test_the_engine_that_was_asked_for_is_used(model, engines, count) -> None:
    engines(planted("Static"))
    at_work = opened(model, engine="static")
    check(at_work.outputs(PIXELS[:count]), model, count)
    assert at_work.engine == "static" and Static.sizes


@pytest.mark.parametrize("name", ["eager", "static"])
def test_mirror_images_are_averaged_in(model, engines, name) -> None:
    engines(planted("Static"))
    at_work = opened(model, engine=name, flip=True)
    mean = (expected(model) + expected(model, PIXELS[..., ::-1].copy())) / 2
    np.testing.assert_allclose(at_work.outputs(PIXELS), mean, rtol=1e-4, atol=1e-5)
    assert at_work.computed[name] == 2 * len(PIXELS)
    assert at_work.outputs(PIXELS[:0]).shape == (0, 3)


def test_what_was_prepared_is_used(model, engines) -> None:
    engines(planted("Static"))
    at_work = opened(model, engine="static")
    at_work.prepare(PIXELS)
    assert (at_work.engine, len(Static.sizes)) == ("static", 2)
    check(at_work.outputs(PIXELS), model)
    assert len(Static.sizes) == 2 + 16


@pytest.mark.parametrize("name", ["auto", "measure", "eager", "static"])
def test_no_images_give_no_rows_and_choose_nothing(model, engines, name) -> None:
    engines(planted("Static"))
    at_work = opened(model, engine=name)
    at_work.prepare(PIXELS[:0])
    found = at_work.outputs(PIXELS[:0])
    assert (found.shape, found.dtype, Static.sizes) == ((0, 3), np.float32, [])
    check(at_work.outputs(PIXELS), model)
    assert at_work.outputs(PIXELS[:0]).shape == (0, 3)


@pytest.mark.parametrize("size", [0, -3])
def test_a_batch_of_no_images_is_refused(model, size) -> None:
    with pytest.raises(UserError, match=f"expected a batch_size of 1 or more, received {size}"):
        opened(model, batch_size=size)


def test_several_calls_are_one_work(model, engines, times, long_work) -> None:
    engines(planted("Static"))
    asked = times(eager=3.0, folded=2.0, static=1.0)
    at_work = opened(model, images=64)
    found = [at_work.outputs(PIXELS[i : i + 8]) for i in range(0, 64, 8)]
    check(np.concatenate(found), model)
    assert at_work.engine == "static" and len(asked) == 1


def test_int8_computes_every_image_of_those_who_asked_for_it(model, int8) -> None:
    at_work = opened(model, engine="turned", quantized=counted)
    found = at_work.outputs(PIXELS[:11])
    np.testing.assert_allclose(found, -expected(model)[:11], rtol=1e-4, atol=1e-5)
    # Compared in 16 batches of the eleven images' rows, and three batches, the last filled up.
    assert set(Turned.sizes) == {4}
    assert at_work.computed == {"turned": 11}


def test_where_memory_turns_out_short_the_net_itself_goes_on(model, engines) -> None:
    engines(planted("Greedy"))
    at_work = opened(model, engine="greedy")
    with pytest.warns(UserWarning, match="memory is too short for the engine greedy"):
        check(at_work.outputs(PIXELS), model)
    assert at_work.engine == "eager"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(at_work.outputs(PIXELS), model)


def test_other_faults_are_not_hidden(model) -> None:
    at_work = opened(model, engine="folded")
    at_work.outputs(PIXELS)
    with pytest.raises(RuntimeError):
        at_work.outputs(PIXELS[:, :2])


def test_modes_are_restored(model, engines) -> None:
    engines(planted("Static"))
    model.train()
    model.bn1.eval()
    modes = [module.training for module in model.modules()]
    for name in ("eager", "folded", "static", "auto", "measure"):
        opened(model, engine=name).outputs(PIXELS)
        assert [module.training for module in model.modules()] == modes
