"""Every setting reaches something: a changed value changes what can be observed."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import reslab
from reslab.engine.machine import inspect_machine
from reslab.engine.runtime import Runtime
from reslab.errors import TrainingDiverged, UserError
from reslab.models.weights import weights_to_bytes
from reslab.ops.native import find_kernels
from reslab.runs.history import EpochRecord
from reslab.spec.recipes import recipe_document
from reslab.spec.run import RunSpec
from reslab.spec.text import build, parse_override
from reslab.training.fit import Judged, begin, fit
from reslab.training.observers import NullObserver
from reslab.workbench.resolve import resolve, train_batches
from reslab.workbench.train import initial_model, validator
from tests.contract.test_setting_mistakes import settings

# Small enough for a second: 64 digits, two epochs of four steps.
BASE = (
    "data.limit=64",
    "data.validation=100",
    "training.batch_size=16",
    "training.epochs=2",
    "training.lr=0.05",
)

# setting (with the kind that it belongs to) -> (what both runs share, the changed value)
CHANGES: dict[str, tuple[tuple[str, ...], str]] = {
    "data.validation": ((), "50"),
    "data.split_seed": ((), "1"),
    "data.limit": ((), "48"),
    "data.folds": (("data.folds=3", "data.fold=1"), "4"),
    "data.fold": (("data.folds=3", "data.fold=1"), "2"),
    "data.sampling": ((), "balanced"),
    "data.augment.pad": ((), "2"),
    "data.augment.fill": ((), "white"),
    "data.augment.crop": ((), "7"),
    "data.augment.flip": ((), "true"),
    "data.augment.trivial": ((), "true"),
    "data.augment.cutout": ((), "3"),
    "data.augment.erasing": ((), "0.5"),
    "data.augment.resized": ((), "0.3"),
    "data.augment.colour": ((), "0.4"),
    "model.name": ((), "resnet20"),
    "model.shortcut": ((), "B"),
    "model.stem": ((), "imagenet"),
    "model.widen": ((), "2"),
    "model.norm": ((), "group"),
    "model.activation": ((), "tanh"),
    "model.dropout": ((), "0.5"),
    "model.stochastic_depth": ((), "0.5"),
    "model.zero_init_residual": ((), "true"),
    "model.stride_in_1x1": (("model.name=resnet50",), "true"),
    "model.initialisation": ((), "kaiming_fan_in"),
    "training.epochs": ((), "1"),
    "training.batch_size": ((), "32"),
    "training.lr": ((), "0.01"),
    "training.optimizer=sgd momentum": ((), "0.5"),
    "training.optimizer=sgd nesterov": ((), "false"),
    "training.optimizer=adam beta1": ((), "0.5"),
    "training.optimizer=adam beta2": ((), "0.9"),
    "training.optimizer=adamw beta1": ((), "0.5"),
    "training.optimizer=adamw beta2": ((), "0.9"),
    "training.optimizer=muon momentum": ((), "0.9"),
    "training.optimizer=muon nesterov": ((), "false"),
    "training.optimizer=muon sgd_lr": ((), "0.1"),
    "training.weight_decay": ((), "0.1"),
    "training.decay_norm_and_bias": ((), "true"),
    "training.schedule=constant warmup_epochs": ((), "1"),
    "training.schedule=step warmup_epochs": ((), "1"),
    "training.schedule=step every": (("training.schedule.every=1",), "2"),
    "training.schedule=step factor": (("training.schedule.every=1",), "0.5"),
    "training.schedule=multistep warmup_epochs": ((), "1"),
    "training.schedule=multistep milestones": ((), "[0.25]"),
    "training.schedule=multistep factor": ((), "0.5"),
    "training.schedule=cosine warmup_epochs": ((), "1"),
    "training.schedule=cosine final": ((), "0.5"),
    "training.schedule=onecycle warmup": ((), "0.5"),
    "training.schedule=onecycle start": ((), "0.5"),
    "training.schedule=onecycle final": ((), "0.5"),
    "training.l1": ((), "0.01"),
    "training.l2": ((), "0.1"),
    "training.clip_norm": ((), "0.1"),
    "training.mixup": ((), "0.4"),
    "training.cutmix": ((), "1.0"),
    "training.ema": ((), "0.9"),
    "training.class_weights": ((), "[9,1,1,1,1,1,1,1,1,1]"),
    "training.patience": (
        ("training.epochs=4", "training.lr=1e-7", "training.optimizer=sgd"),
        "1",
    ),
    "training.min_delta": (
        ("training.epochs=4", "training.patience=1", "engine.kernels=torch"),
        "0.9",
    ),
    "training.label_smoothing": ((), "0.3"),
    "evaluation.flip": ((), "true"),
    "engine.precision": (("engine.precision=fp32",), "bf16"),
    "engine.memory_format": (("engine.memory_format=channels_last",), "contiguous"),
    "engine.threads": (("engine.threads=2",), "1"),
    "engine.checkpoint_segments": (("engine.checkpoint_segments=0",), "3"),
    "engine.micro_batches": (("engine.micro_batches=1",), "2"),
    "seeds.base": ((), "1"),
    "seeds.initialisation": ((), "1"),
    "seeds.order": ((), "1"),
    "seeds.augmentation": ((), "1"),
}
# Those that a machine without a GPU or network shows in another way, each by its own test below.
APART = {
    "recipe",
    "data.name",
    "data.root",
    "data.group_by",
    "data.fit",
    "data.background",
    "data.image_size",
    "data.test",
    "data.exclude",
    "data.cache_size",
    "training.time_limit",
    "training.non_finite",
    "training.select_by",
    "engine.device",
    "engine.compile",
    "engine.kernels",
    "checkpoint.every_seconds",
    "checkpoint.keep",
}


@cache
def observe(overrides: tuple[str, ...]) -> dict[str, Any]:
    """What a short training shows of its settings."""
    spec = build(RunSpec, recipe_document("fast", *map(parse_override, overrides)))
    prepared = resolve(spec)
    runtime = Runtime(**prepared.run.engine.model_dump())
    with runtime.active():
        model = initial_model(prepared.run, runtime)
        strides = [p.stride() for p in model.parameters()]
        stepper = begin(model, train_batches(prepared), prepared.run.training, runtime)
        result = fit(stepper, validate=validator(prepared, runtime))
        threads = torch.get_num_threads()
    history = [asdict(r) for r in result.history]
    for record in history:
        del record["seconds"], record["images_per_second"]
    return {
        "weights": weights_to_bytes(stepper.state.judged),
        "strides": strides,
        "segments": [stage.segments for stage in model.stages()],
        "threads": threads,
        "history": history,
        "best_epoch": result.best_epoch,
    }


def key(dotted: str, before: tuple[str, ...]) -> str:
    section, _, name = dotted.rpartition(".")
    return f"{before[-1]} {name}" if before and before[-1].startswith(section) else dotted


def test_no_setting_is_forgotten() -> None:
    assert {key(d, b) for d, _, b in settings(RunSpec)} == set(CHANGES) | APART


@pytest.mark.parametrize("setting", CHANGES)
def test_a_changed_setting_is_observed(setting: str) -> None:
    shared, value = CHANGES[setting]
    kind, _, name = setting.rpartition(" ")
    dotted = f"{kind.partition('=')[0]}.{name}" if kind else name
    if dotted == "engine.threads" and inspect_machine().cpus == 1:
        pytest.skip("this process has a single CPU")
    before = (*BASE, *([kind] if kind else []), *shared)
    assert observe(before) != observe((*before, f"{dotted}={value}"))


def test_the_same_settings_are_observed_alike() -> None:
    again = observe.__wrapped__(BASE)
    assert observe(BASE) == again


def test_the_recipe_is_kept_for_the_record() -> None:
    assert resolve(RunSpec(recipe="paper")).run.recipe == "paper"


def test_name_and_root_choose_the_data() -> None:
    with pytest.raises(UserError, match="does not exist"):
        resolve(build(RunSpec, {"data": {"name": "mnist", "root": "/nowhere"}}))
    with pytest.raises(UserError, match="bundled"):
        resolve(build(RunSpec, {"data": {"name": "digits", "root": "/nowhere"}}))


def test_settings_of_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reslab.data.pictures.ingest.cache_folder", lambda kind: tmp_path / kind)
    root = tmp_path / "shades"
    for label, level in (("bright", 200), ("dark", 60)):
        (root / label).mkdir(parents=True)
        for number in range(20):
            pixels = np.full((20, 30 + number, 4), level, np.uint8)
            pixels[:, :15, 3] = number
            Image.fromarray(pixels).save(root / label / f"{number:02}.png")
    (tmp_path / "list.txt").write_text("dark/00.png\n")

    def seen(**settings: object) -> tuple[str, int, int, int]:
        data = {"name": "folder:shades", "root": str(root), **settings}
        prepared = resolve(build(RunSpec, {"data": data}))
        packed = sum(path.stat().st_size for path in tmp_path.glob("pictures/*/*/pixels.u8"))
        facts = prepared.run.facts
        return facts.fingerprint, facts.train_images, prepared.scored, packed

    usual = seen()
    for name, value in {
        "fit": "squash",
        "background": "white",
        "image_size": 10,
        "test": 0.5,
        "exclude": str(tmp_path / "list.txt"),
    }.items():
        assert seen(**{name: value})[:3] != usual[:3], name
    shutil.rmtree(tmp_path / "pictures")
    assert seen(cache_size=0)[:3] == usual[:3]
    assert seen(cache_size=0)[3] == 0 < seen()[3]


def test_groups_choose_the_split(tmp_path: Path) -> None:
    groups = tmp_path / "groups.txt"
    groups.write_text("\n".join(str(i // 3) for i in range(1437)))
    plain, grouped = (
        resolve(build(RunSpec, {"data": {"group_by": given}})) for given in (None, str(groups))
    )
    assert plain.numbers.tolist() != grouped.numbers.tolist()


def test_the_device_is_the_one_asked_for() -> None:
    assert resolve(build(RunSpec, {"engine": {"device": "cpu"}})).run.engine.device == "cpu"
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="no device cuda"):
            resolve(build(RunSpec, {"engine": {"device": "cuda"}}))


def test_compile_wraps_the_net() -> None:
    model = torch.nn.Linear(2, 2)
    assert Runtime(compile=False).compiled(model) is model
    assert Runtime(compile=True).compiled(model) is not model


def test_the_kernels_are_those_asked_for() -> None:
    if find_kernels().kernels is None:
        pytest.skip(find_kernels().reason)
    ours, theirs = (observe((*BASE, f"engine.kernels={name}")) for name in ("reslab", "torch"))
    assert ours["weights"] != theirs["weights"]
    # Rounding grows from step to step: only the first epoch is still the same.
    first, other = ours["history"][0], theirs["history"][0]
    assert first["train_loss"] == pytest.approx(other["train_loss"], rel=1e-3)


def test_the_limit_of_time_shortens_training(tmp_path: Path) -> None:
    spec = build(RunSpec, recipe_document("fast", *map(parse_override, BASE)))
    spec = spec.model_copy(
        update={"training": spec.training.model_copy(update={"epochs": 5000, "time_limit": 6.0})}
    )
    run = reslab.train(spec, out=tmp_path / "run")
    assert 0 < run.metrics["steps"] < run.spec.total_steps
    assert run.metrics["status"] == "finished"
    assert run.history[-1].learning_rate < 0.1 * run.spec.training.lr


@pytest.mark.parametrize(("choice", "epoch"), [("loss", 1), ("accuracy", 2), ("macro_f1", 3)])
def test_the_best_epoch_is_chosen_as_asked(choice: str, epoch: int) -> None:
    overrides = (*BASE, "training.epochs=3", f"training.select_by={choice}")
    prepared = resolve(build(RunSpec, recipe_document("fast", *map(parse_override, overrides))))
    runtime = Runtime(**prepared.run.engine.model_dump())
    # Loss, accuracy and macro-F1 of the three epochs, each best in another one.
    judged = iter([Judged(0.5, 0.80, 0.60), Judged(0.7, 0.90, 0.65), Judged(0.9, 0.85, 0.70)])
    with runtime.active():
        model = initial_model(prepared.run, runtime)
        stepper = begin(model, train_batches(prepared), prepared.run.training, runtime)
        assert fit(stepper, validate=lambda _: next(judged)).best_epoch == epoch


@pytest.mark.parametrize(("choice", "left_out"), [("skip", 1), ("rollback", 1), ("stop", None)])
def test_what_is_not_finite_is_treated_as_asked(choice: str, left_out: int | None) -> None:
    override = f"training.non_finite={choice}"
    spec = build(RunSpec, recipe_document("fast", *map(parse_override, (*BASE, override))))
    prepared = resolve(spec)
    runtime = Runtime(**prepared.run.engine.model_dump())
    model = initial_model(prepared.run, runtime)
    stepper = begin(model, train_batches(prepared), prepared.run.training, runtime)
    calls = iter(range(100))
    model.fc.register_forward_hook(
        lambda _, __, out: out * float("nan") if next(calls) == 5 else out
    )
    if left_out is None:
        with pytest.raises(TrainingDiverged):
            fit(stepper)
    else:
        assert fit(stepper).left_out == left_out


def test_checkpoints_are_as_many_and_as_often_as_asked(tmp_path: Path) -> None:
    class Counts(NullObserver):
        def __init__(self, folder: Path) -> None:
            self.folder = folder
            self.found: list[list[int]] = []

        def on_epoch(self, record: EpochRecord, model: nn.Module, is_best: bool) -> None:
            names = sorted(path.name for path in (self.folder / "checkpoint").iterdir())
            self.found.append([int(name[5:14]) for name in names])

    expected = {(0, 3): [1, 2, 3], (0, 1): [3], (1000, 3): []}
    for (seconds, keep), steps in expected.items():
        overrides = (f"checkpoint.every_seconds={seconds}", f"checkpoint.keep={keep}")
        spec = build(RunSpec, recipe_document("fast", *map(parse_override, (*BASE, *overrides))))
        watch = Counts(tmp_path / f"{seconds}-{keep}")
        reslab.train(spec, out=watch.folder, observers=[watch])
        # The fourth step ends the epoch, which is told before its checkpoint is written.
        assert watch.found[0] == steps
