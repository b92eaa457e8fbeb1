"""What is decided from data and machine."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import reslab
from reslab.data.digits import DigitsSource
from reslab.errors import UserError
from reslab.spec.resolved import ResolvedRun
from reslab.spec.run import RunSpec
from reslab.spec.text import build
from reslab.workbench import decide
from reslab.workbench.resolve import build_model, normaliser_of, resolve, warn_of_shortage


def source(n: int, size: int = 8, classes: int = 2, channels: int = 1) -> reslab.ArraySource:
    images = np.random.default_rng(0).integers(0, 256, (n, size, size, channels), np.uint8)
    return reslab.ArraySource(images, np.arange(n) % classes, flip=True)


def test_nothing_is_left_open() -> None:
    document = resolve(RunSpec()).run.model_dump(mode="json")
    assert "auto" not in json.dumps(document)


def test_a_resolved_run_resolves_to_itself() -> None:
    run = resolve(RunSpec()).run
    assert resolve(build(RunSpec, run.asked())).run == run


@pytest.mark.parametrize(
    ("images", "validation", "batch_size", "epochs"),
    [(100, 10, 32, 30), (4000, 400, 64, 30), (30_000, 3000, 256, 16), (60_000, 5000, 256, 8)],
)
def test_rules_by_the_number_of_images(
    images: int, validation: int, batch_size: int, epochs: int
) -> None:
    spec = reslab.recipe(training={"optimizer": "sgd"})
    run = resolve(spec, source(images, size=2)).run
    assert run.data.validation == validation == run.facts.val_images
    assert run.training.batch_size == batch_size
    assert run.training.epochs == epochs
    assert run.training.lr == pytest.approx(0.4 * batch_size / 256)
    assert run.facts.train_images == images - validation
    assert run.facts.steps_per_epoch == (images - validation) // batch_size
    assert run.total_steps == epochs * run.facts.steps_per_epoch


@pytest.mark.parametrize(("optimizer", "lr"), [("adam", 0.001), ("adamw", 0.001), ("muon", 0.05)])
def test_others_have_a_rate_of_their_own(optimizer: str, lr: float) -> None:
    run = resolve(reslab.recipe(training={"optimizer": optimizer})).run
    assert run.training.lr == lr


def test_a_fraction_for_validation() -> None:
    run = resolve(reslab.recipe(data={"validation": 0.25}), source(100)).run
    assert run.facts.val_images == 25
    assert resolve(reslab.recipe(data={"validation": 0.0}), source(100)).run.facts.val_images == 0


def test_flips_follow_the_card() -> None:
    assert resolve(RunSpec(), source(100)).run.data.augment.flip is True
    assert resolve(RunSpec()).run.data.augment.flip is False


@pytest.mark.parametrize(("size", "stem"), [(8, "small"), (95, "small"), (96, "imagenet")])
def test_the_stem_follows_the_size(size: int, stem: str) -> None:
    spec = reslab.recipe(model={"name": "resnet18"})
    assert resolve(spec, source(40, size=size)).run.model.stem == stem


def test_own_arrays_keep_their_name_and_channels() -> None:
    run = resolve(RunSpec(), source(40, channels=3, classes=4)).run
    assert run.data.name == "arrays"
    assert build_model(run).conv1.in_channels == 3
    assert build_model(run).fc.out_features == 4
    assert build(ResolvedRun, run.model_dump(mode="json")) == run


def test_the_test_split_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(self: object) -> None:
        raise AssertionError("the test split was opened")

    monkeypatch.setattr(DigitsSource, "load_test", opened)
    resolve(RunSpec())


def test_statistics_are_those_of_the_training_part() -> None:
    prepared = resolve(RunSpec())
    pixels = prepared.train.pixels_NCHW / 255
    assert normaliser_of(prepared.run).mean[0] == pytest.approx(pixels.mean())
    assert normaliser_of(prepared.run).sd[0] == pytest.approx(pixels.std())


def test_single_images_are_refused_where_batch_norm_cannot_learn() -> None:
    spec = reslab.recipe(model={"name": "resnet18"}, training={"batch_size": 1})
    with pytest.raises(UserError, match="batch norm"):
        resolve(spec, source(40))
    assert resolve(spec, source(40, size=16)).run.training.batch_size == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"data": {"validation": 0.001}},
        {"training": {"epochs": 5, "schedule": {"kind": "multistep", "milestones": [2, 5]}}},
        {"training": {"epochs": 5, "schedule": {"kind": "cosine", "warmup_epochs": 5.0}}},
    ],
)
def test_what_would_never_happen_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(UserError):
        resolve(reslab.recipe(**changes), source(100))


def test_single_images_train_under_group_norm() -> None:
    spec = reslab.recipe(model={"name": "resnet18", "norm": "group"}, training={"batch_size": 1})
    assert resolve(spec, source(40)).run.training.batch_size == 1


@pytest.mark.parametrize(("memory", "segments"), [(2**40, 0), (2**20, 4)])
def test_activations_are_spared_where_memory_is_short(
    monkeypatch: pytest.MonkeyPatch, memory: int, segments: int
) -> None:
    monkeypatch.setattr(decide, "memory_of", lambda device: memory)
    # A batch of digits takes some MiB, and resnet14 keeps 24.
    assert resolve(RunSpec()).run.engine.checkpoint_segments == segments
    spec = reslab.recipe(engine={"checkpoint_segments": 5})
    assert resolve(spec).run.engine.checkpoint_segments == 5


def test_what_was_asked_for_beside_the_memory_there_is_is_warned_about(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = reslab.recipe(engine={"micro_batches": 2})
    assert resolve(asked).warnings == ()
    for room in (decide, reslab.workbench.resolve):
        monkeypatch.setattr(room, "free_memory", lambda device: 2**28)
    (told,) = resolve(asked).warnings
    assert "of 0.2 GiB that are free: the training may be killed" in told
    prepared = resolve(asked)
    on_gpu = prepared.run.engine.model_copy(update={"device": "cuda"})
    run = prepared.run.model_copy(update={"engine": on_gpu})
    assert warn_of_shortage(run, prepared.need) == []
    with pytest.raises(UserError, match="too little memory for this training"):
        resolve(RunSpec())


def test_that_batches_are_cut_is_said_aloud(monkeypatch: pytest.MonkeyPatch) -> None:
    # Digits in whole batches take 0.1 GiB, and what is held besides a quarter.
    monkeypatch.setattr(decide, "free_memory", lambda device: 2**28 + 2**26)
    prepared = resolve(reslab.recipe(training={"batch_size": 1024}))
    assert prepared.run.engine.micro_batches > 1
    (told,) = prepared.warnings
    assert "batch norm, where there is any, sees" in told


def test_every_option_of_the_net_reaches_it() -> None:
    spec = reslab.recipe(
        model={
            "name": "preact_resnet50",
            "shortcut": "C",
            "norm": "group",
            "activation": "tanh",
            "dropout": 0.25,
            "stochastic_depth": 0.5,
            "stride_in_1x1": True,
            "initialisation": "orthogonal",
        }
    )
    model = build_model(resolve(spec, source(40)).run)
    text = repr(model)
    assert all(part in text for part in ("GroupNorm", "Tanh", "p=0.25", "probability=0.5"))
    assert "ReLU" not in text and "BatchNorm" not in text
    assert model.layer2[0].conv1.stride == (2, 2)
    assert model.layer1[1].downsample is not None
    rows = model.layer1[1].conv1.weight.flatten(1)
    torch.testing.assert_close(rows @ rows.T, 2 * torch.eye(64), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ({"name": "resnet20", "stride_in_1x1": True}, "stride_in_1x1 has no meaning for resnet20"),
        ({"name": "plain20", "stochastic_depth": 0.1}, "stochastic_depth needs a shortcut"),
        ({"name": "plain20", "shortcut": "A"}, "plain20 is a plain net"),
    ],
)
def test_options_without_meaning_are_refused_before_training(
    model: dict[str, object], text: str
) -> None:
    with pytest.raises(UserError, match=text):
        resolve(reslab.recipe(model=model), source(100))
