"""The choice among engines, with times that are planted; what engines give: tests/contract."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from reslab.data.normalise import Normaliser
from reslab.engine.load import Load
from reslab.engine.machine import inspect_machine
from reslab.engine.runtime import Runtime
from reslab.errors import UserError
from reslab.inference import catalog, memo, session
from reslab.inference.catalog import ENGINES, Entry, Obstacle
from reslab.inference.choose import FEW_IMAGES
from reslab.inference.eager import compute_logits
from reslab.inference.int8 import Quantized
from reslab.inference.memo import Measured
from reslab.inference.session import Session
from reslab.models.blocks import BasicBlock
from reslab.models.resnet import ResNet
from tests.inference.planted import Static, Turned

PIXELS = np.random.default_rng(0).integers(0, 256, (64, 3, 5, 5)).astype(np.uint8)
NORMALISER = Normaliser((0.5,) * 3, (0.2,) * 3)
OWN = ENGINES[:2]


def planted(kind: str, **options: object) -> Entry:
    where = f"tests.inference.planted:{kind}"
    return Entry(name=kind.lower(), where=where, what="", **{"setup": (0.0, 0.0), **options})


@pytest.fixture
def model() -> ResNet:
    torch.manual_seed(0)
    return ResNet(BasicBlock, (1,), (4,), num_classes=3, stem="small")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(memo, "cache_folder", lambda _: tmp_path)
    Static.sizes.clear()


@pytest.fixture
def engines(monkeypatch):
    """Puts other engines into the catalogue."""

    def put(*entries: Entry) -> None:
        for module in (catalog, session, memo):
            monkeypatch.setattr(module, "ENGINES", (*OWN, *entries))

    put()
    return put


@pytest.fixture
def times(monkeypatch):
    """Decides what measuring finds, and tells who was measured."""
    asked: list[list[str]] = []

    def put(**seconds: float) -> list[list[str]]:
        def found(contenders, **_: object) -> dict[str, float]:
            asked.append(list(contenders))
            for call in contenders.values():
                call()
            return {name: seconds[name] for name in contenders}

        monkeypatch.setattr(session, "time_in_turns", found)
        return asked

    return put


@pytest.fixture
def long_work(monkeypatch):
    """Work that is worth all measuring."""
    monkeypatch.setattr(session, "worth_trying", lambda untried, *_: list(untried))


def expected(model: ResNet, pixels: np.ndarray = PIXELS) -> np.ndarray:
    return compute_logits(model, pixels, NORMALISER, Runtime())


def opened(model: ResNet, **options: object) -> Session:
    return Session(model, NORMALISER, Runtime(), **{"batch_size": 4, **options})


def check(found: np.ndarray, model: ResNet, count: int = 64) -> None:
    np.testing.assert_allclose(found, expected(model)[:count], rtol=1e-4, atol=1e-5)


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


def test_a_long_preparation_is_weighed_against_the_work(model, engines) -> None:
    engines(planted("Static"))
    at_work = opened(model)
    shape = (4, *PIXELS.shape[1:])
    key = memo.key_of(model, shape, at_work._runtime, at_work._machine)
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


@pytest.mark.parametrize("count", [1, 3, 4, 30])
def test_the_engine_that_was_asked_for_is_used(model, engines, count) -> None:
    engines(planted("Static"))
    at_work = opened(model, engine="static")
    check(at_work.outputs(PIXELS[:count]), model, count)
    assert at_work.engine == "static" and Static.sizes


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


def test_what_was_measured_beside_others_is_used_and_not_kept(
    model, engines, times, long_work, monkeypatch
) -> None:
    class Busy(Load):
        def others(self) -> float:
            return float(self.cpus)

    monkeypatch.setattr(session, "Load", Busy)
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
    key = memo.key_of(model, (4, *PIXELS.shape[1:]), at_work._runtime, at_work._machine)
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


def test_unknown_and_unusable_engines_are_refused_at_once(model) -> None:
    with pytest.raises(UserError, match="did you mean 'openvino'"):
        opened(model, engine="opnvino")
    cuda = Runtime(device="cuda")
    with pytest.raises(UserError, match="works on cpu and not on cuda"):
        Session(model, NORMALISER, cuda, engine="inductor")


# --- int8 -----------------------------------------------------------------------------------


def counted(changed: int = 64) -> Quantized:
    """A model as a run has it stored, judged on 64 images."""
    return Quantized(b"", b"", changed=changed, images=64)


@pytest.fixture
def int8(engines, monkeypatch):
    """An engine in int8 that is the net itself, but for the classes that it turns round."""
    engines(planted("Turned", precision="int8"))
    (entry,) = session.ENGINES[2:]
    monkeypatch.setattr(session, "INT8", entry.name)
    Turned.sizes.clear()


def test_int8_computes_every_image_of_those_who_asked_for_it(model, int8) -> None:
    at_work = opened(model, engine="turned", quantized=counted)
    found = at_work.outputs(PIXELS[:11])
    np.testing.assert_allclose(found, -expected(model)[:11], rtol=1e-4, atol=1e-5)
    # Compared in 16 batches of the eleven images' rows, and three batches, the last filled up.
    assert set(Turned.sizes) == {4}
    assert at_work.computed == {"turned": 11}


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
    monkeypatch.setattr(session, "INT8", "incapable")
    for name in ("measure", "auto"):
        opened(model, engine=name, quantized=counted).outputs(PIXELS)
    kept = memo.recall(memo.key_of(model, (4, 3, 5, 5), Runtime(), inspect_machine()))
    assert "incapable" not in kept
    with pytest.raises(UserError, match="incapable could not be made ready: received "):
        opened(model, engine="incapable", quantized=counted).outputs(PIXELS)


def test_modes_are_restored(model, engines) -> None:
    engines(planted("Static"))
    model.train()
    model.bn1.eval()
    modes = [module.training for module in model.modules()]
    for name in ("eager", "folded", "static", "auto", "measure"):
        opened(model, engine=name).outputs(PIXELS)
        assert [module.training for module in model.modules()] == modes
