"""What is decided from data and machine."""

from __future__ import annotations

import json

import numpy as np
import pytest

import reslab
from reslab.data.digits import DigitsSource
from reslab.errors import UserError
from reslab.spec.resolved import ResolvedRun
from reslab.spec.run import RunSpec
from reslab.spec.text import build
from reslab.workbench.resolve import build_model, choose_engine, normaliser_of, resolve


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
    run = resolve(RunSpec(), source(images, size=2)).run
    assert run.data.validation == validation == run.facts.val_images
    assert run.training.batch_size == batch_size
    assert run.training.epochs == epochs
    assert run.training.lr == pytest.approx(0.4 * batch_size / 256)
    assert run.facts.train_images == images - validation
    assert run.facts.steps_per_epoch == (images - validation) // batch_size
    assert run.total_steps == epochs * run.facts.steps_per_epoch


def test_adam_has_a_rate_of_its_own() -> None:
    run = resolve(reslab.recipe(training={"optimizer": "adam"})).run
    assert run.training.lr == 0.001


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


def test_engine_choices_carry_reasons() -> None:
    choices = choose_engine(RunSpec().engine)
    assert [c.setting for c in choices] == ["device", "precision", "memory_format", "threads"]
    assert all(c.reason for c in choices)


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
