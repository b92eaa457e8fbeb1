import pytest

from reslab.inference.catalog import ENGINES
from reslab.inference.choose import (
    AFFORDABLE,
    FEW_IMAGES,
    best_known,
    cheapest,
    unmeasured_choice,
    worth_trying,
)
from reslab.inference.memo import Measured

FOUND = {
    "eager": Measured(setup_seconds=0.0, batch_seconds=0.2),
    "openvino": Measured(setup_seconds=1.0, batch_seconds=0.1),
    "inductor": Measured(setup_seconds=40.0, batch_seconds=0.05),
    "onnxruntime": Measured(failure="it cannot"),
}


@pytest.mark.parametrize(
    ("batches", "name"),
    [(1, "eager"), (9, "eager"), (11, "openvino"), (770, "openvino"), (790, "inductor")],
)
def test_a_compilation_is_weighed_against_the_work(batches, name):
    assert cheapest(FOUND, batches) == name


def test_what_is_ready_costs_nothing_more():
    assert cheapest(FOUND, 1, ready=["inductor"]) == "inductor"


def test_the_best_is_of_those_that_there_are():
    names = {"eager", "folded", "openvino", "inductor"}
    assert best_known(FOUND, names, 500, 11, []) == "openvino"
    assert best_known(FOUND, names - {"openvino"}, 500, 11, []) == "eager"
    assert best_known(FOUND, names - {"openvino"}, 500, 11, ["inductor"]) == "inductor"


@pytest.mark.parametrize(
    ("names", "images", "name"),
    [
        ({"eager", "folded"}, FEW_IMAGES, "folded"),
        ({"eager"}, FEW_IMAGES, "eager"),
        ({"eager", "folded", "onnxruntime"}, 1, "eager"),
    ],
)
def test_where_nothing_is_known_work_begins_without_preparing(names, images, name):
    failed = {"onnxruntime": FOUND["onnxruntime"], "openvino": FOUND["openvino"]}
    assert best_known(failed, names, images, 1, []) == name


def test_few_images_never_wait_for_anything():
    assert unmeasured_choice(1) == unmeasured_choice(FEW_IMAGES - 1) == "eager"
    assert unmeasured_choice(FEW_IMAGES) == "folded"


@pytest.mark.parametrize("seconds", [0.0, 0.5, 5.0, 20.0, 60.0, 100.0, 1000.0])
@pytest.mark.parametrize("convolutions", [1, 20, 53, 1200])
def test_no_more_is_spent_than_can_be_afforded(seconds, convolutions):
    chosen = worth_trying(ENGINES, convolutions, seconds)
    spent = sum(entry.setup_seconds(convolutions) for entry in chosen)
    assert spent <= AFFORDABLE * seconds
    # And nothing is left out that is cheaper than what was taken.
    left = [e.setup_seconds(convolutions) for e in ENGINES if e not in chosen]
    if left:
        assert spent + min(left) > AFFORDABLE * seconds


def test_long_work_tries_them_all():
    assert set(worth_trying(ENGINES, 20, 1e6)) == set(ENGINES)
