import numpy as np
import pytest
import torch

from reslab.data.normalise import Normaliser
from reslab.engine.runtime import Runtime
from reslab.inference.catalog import Entry, find_engine
from reslab.inference.ready import Ready, reason_of
from reslab.models.blocks import BasicBlock
from reslab.models.resnet import ResNet
from tests.inference.planted import Static

PIXELS = np.random.default_rng(0).integers(0, 256, (11, 3, 7, 7)).astype(np.uint8)


def planted(kind, **options):
    where = f"tests.inference.planted:{kind}"
    return Entry(name=kind.lower(), where=where, what="", setup=(0.0, 0.0), **options)


def make(batch_size=4, pixels=PIXELS, broken=False):
    torch.manual_seed(0)
    model = ResNet(BasicBlock, (1,), (4,), num_classes=3, stem="small").eval()
    if broken:
        model.fc.weight.data.fill_(float("nan"))
    return Ready(
        model, pixels, Normaliser((0.5,) * 3, (0.2,) * 3), Runtime(), batch_size=batch_size
    )


def test_one_that_agrees_may_be_used():
    ready = make()
    for name in ("eager", "folded"):
        assert ready.add(find_engine(name)).is_good
    assert list(ready.forwards) == ["eager", "folded"]
    shapes = {name: call().shape for name, call in ready.calls().items()}
    assert shapes == {"eager": (4, 3), "folded": (4, 3)}
    ready.keep(["folded", "openvino"])
    assert list(ready.forwards) == ["folded"]


def test_one_that_disagrees_may_not():
    ready = make()
    outcome = ready.add(planted("Wrong"))
    assert not outcome.is_good and not outcome.failure
    assert "is off by 0.01" in outcome.disagreement
    assert not ready.forwards


def test_one_that_cannot_take_the_net_may_not():
    outcome = make().add(planted("Incapable"))
    assert (outcome.failure, outcome.lasts, outcome.is_good) == (
        "operator not supported",
        True,
        False,
    )


@pytest.mark.parametrize(
    ("batch_size", "images", "calls"), [(4, 11, 2), (1, 11, 8), (4, 3, 1), (20, 11, 1)]
)
def test_the_first_rows_are_compared_in_batches_of_its_size(batch_size, images, calls):
    Static.sizes.clear()
    assert make(batch_size, PIXELS[:images]).add(planted("Static")).is_good
    assert Static.sizes == [batch_size] * calls


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "ValueError"),
        ("  a\n b  ", "a b"),
        (
            "Compile error\n\nCommand:\nc++ x.cpp\n\nOutput:\nx.cpp:1: note: here\n"
            "x.cpp:2: fatal error: no header\nx.cpp:3: error: next\n\nSet VERBOSE=1",
            "Compile error: x.cpp:2: fatal error: no header",
        ),
        ("x" * 400, "x" * 300),
    ],
)
def test_the_reason_of_a_failure_is_one_line(text, reason):
    assert reason_of(ValueError(text)) == reason


def test_want_of_memory_need_not_last():
    outcome = make(1).add(planted("Greedy"))
    assert outcome.failure and not outcome.lasts


def test_a_net_whose_outputs_are_not_finite_is_left_to_the_reference():
    assert (
        "the net's outputs are not finite"
        in make(broken=True).add(find_engine("folded")).disagreement
    )
