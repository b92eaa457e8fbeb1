"""The rules one by one; what they come to together is in test_resolve."""

from __future__ import annotations

import numpy as np
import pytest

from reslab.engine.need import StepNeed
from reslab.errors import UserError
from reslab.spec.optimizers import SGD
from reslab.spec.run import EngineSpec, EvaluationSpec, ModelSpec, TrainingSpec
from reslab.workbench.decide import (
    choose_engine,
    decide_class_weights,
    decide_evaluation,
    decide_memory,
    decide_model,
    decide_training,
)


@pytest.mark.parametrize(
    ("asked", "in_training", "expected"),
    [("auto", True, True), ("auto", False, False), (True, False, True), (False, True, False)],
)
def test_mirror_images_are_looked_at_where_training_has_them(asked, in_training, expected) -> None:
    decided = decide_evaluation(EvaluationSpec(flip=asked), flip=in_training)
    assert decided == {"flip": expected}


def test_engine_choices_carry_reasons() -> None:
    choices = choose_engine(EngineSpec())
    assert [c.setting for c in choices] == [
        "device",
        "precision",
        "memory_format",
        "threads",
        "kernels",
    ]
    assert all(c.reason for c in choices)


def test_what_memory_asks_for_completes_the_engine() -> None:
    small, large = (
        {
            c.setting: c.value
            for c in decide_memory(
                EngineSpec(),
                StepNeed(
                    batch_size=2**30,
                    image_bytes=image_bytes,
                    parameters=1,
                    least=1,
                    convolutions=5,
                ),
                "cpu",
            )
        }
        for image_bytes in (1, 2**20)
    )
    decided = {choice.setting for choice in choose_engine(EngineSpec())}
    assert small.keys() | decided == EngineSpec.model_fields.keys() - {"compile"}
    assert (small["checkpoint_segments"], large["checkpoint_segments"]) == (0, 3)
    assert small["micro_batches"] == 1 < large["micro_batches"]


def test_training_as_numbers() -> None:
    decided = decide_training(TrainingSpec(), 55_000, 5000)
    assert decided == {"epochs": 8, "batch_size": 256, "lr": 0.05}
    by_sgd = decide_training(TrainingSpec(optimizer=SGD()), 55_000, 5000)
    assert by_sgd == {"epochs": 8, "batch_size": 256, "lr": pytest.approx(0.4)}
    asked = TrainingSpec(epochs=3, batch_size=7, lr=0.5)
    assert decide_training(asked, 55_000, 5000) == {"epochs": 3, "batch_size": 7, "lr": 0.5}
    with pytest.raises(UserError, match=r"larger than the 5 training images"):
        decide_training(asked, 5, 0)


@pytest.mark.parametrize(("size", "stem", "shortcut"), [(95, "small", "B"), (96, "imagenet", "B")])
def test_the_net_follows_the_image_size(size: int, stem: str, shortcut: str) -> None:
    decided = decide_model(ModelSpec(name="resnet50"), size)
    assert (decided["stem"], decided["shortcut"]) == (stem, shortcut)
    asked = ModelSpec(name="resnet50", stem="small", shortcut="C")
    assert decide_model(asked, size)["stem"] == "small"
    assert decide_model(asked, size)["shortcut"] == "C"
    assert decided.keys() == ModelSpec.model_fields.keys()


def test_class_weights_as_numbers() -> None:
    labels = np.repeat([0, 1, 3], [6, 3, 1])
    classes = ("a", "b", "c", "d")
    assert decide_class_weights(None, labels, classes) is None
    assert decide_class_weights((1.0, 2.0, 3.0, 4.0), labels, classes) == [1.0, 2.0, 3.0, 4.0]
    balanced = decide_class_weights("balanced", labels, classes)
    assert balanced == pytest.approx([10 / 18, 10 / 9, 0.0, 10 / 3])
    # Each class weighs alike, and the mean over the images is 1.
    assert np.array(balanced)[labels].mean() == pytest.approx(1.0)
    with pytest.raises(UserError, match="expected 4, for a, b, c, d, received 2"):
        decide_class_weights((1.0, 2.0), labels, classes)
