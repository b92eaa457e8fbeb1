import math

import pytest
from pydantic import ValidationError

from reslab.catalog.datasets import DATASETS
from reslab.catalog.nets import NETS
from reslab.errors import UserError
from reslab.spec.faults import leaves
from reslab.spec.run import RunSpec
from reslab.spec.text import build, nest

NAN, INFINITY = math.nan, math.inf


def spec(dotted, value):
    return build(RunSpec, nest(dotted, value))


def get(value, dotted):
    for part in dotted.split("."):
        value = getattr(value, part)
    return value


def test_nothing_asked_is_a_whole_run():
    assert RunSpec() == build(RunSpec, {})


@pytest.mark.parametrize(
    ("dotted", "value"),
    [
        ("recipe", "other"),
        ("data", RunSpec().data),
        ("data.name", "mnist"),
        ("data.augment.pad", 1),
        ("training.lr", 1.0),
        ("training.optimizer.momentum", 0.0),
        ("training.schedule.final", 0.5),
        ("engine.device", "cpu"),
        ("seeds.base", 1),
    ],
)
def test_a_run_is_frozen_at_every_depth(dotted, value):
    run = RunSpec()
    *above, name = dotted.split(".")
    owner = get(run, ".".join(above)) if above else run
    with pytest.raises(ValidationError, match="frozen"):
        setattr(owner, name, value)
    assert run == RunSpec()


def test_equal_runs_are_equal_keys():
    assert len({RunSpec(), build(RunSpec, {}), spec("seeds.base", 1)}) == 2


@pytest.mark.parametrize(
    ("dotted", "values"),
    [
        ("data.root", ["folder", None]),
        ("data.validation", [0, 1, 10**6, 0.0, 0.1, 0.999, "auto"]),
        ("data.split_seed", [0, 2**32 - 1]),
        ("data.limit", [None, 1]),
        ("data.augment.pad", [0, 64, "auto"]),
        ("data.augment.crop", [1, "auto"]),
        ("data.augment.flip", [True, False, "auto"]),
        ("data.augment.cutout", [0, 8]),
        ("model.shortcut", ["auto", "A", "B", "C", "conv3x3", "none"]),
        ("model.stem", ["auto", "imagenet", "small"]),
        ("training.epochs", [1, "auto"]),
        ("training.lr", [1e-12, 1.0, "auto"]),
        ("training.weight_decay", [0.0, 1.0]),
        ("training.label_smoothing", [0.0, 0.99]),
        ("engine.threads", [1, 1024, "auto"]),
        ("engine.precision", ["auto", "fp32", "bf16"]),
        ("seeds.order", [0, 2**32 - 1, "auto"]),
    ],
)
def test_what_is_allowed_is_kept_as_it_is(dotted, values):
    for value in values:
        kept = get(spec(dotted, value), dotted)
        assert kept == value
        assert type(kept) is type(value)


@pytest.mark.parametrize(
    ("dotted", "values"),
    [
        ("recipe", [1, None]),
        ("data.root", [1, True, b"folder"]),
        ("data.validation", [-1, -0.1, 1.0, 1.5, True, False, "0.1", None, NAN, INFINITY]),
        ("data.split_seed", [-1, 2**32, 0.0, True, "0", "auto", NAN]),
        ("data.limit", [0, -1, 1.0, True, "auto"]),
        ("data.augment.pad", [-1, 65, 1.0, True, "4", None]),
        ("data.augment.crop", [0, 1.0, True, INFINITY]),
        ("data.augment.flip", [0, 1, "true", "yes", None]),
        ("data.augment.cutout", [-1, 0.0, False, "auto", None]),
        ("model.zero_init_residual", [0, 1, "auto", None]),
        ("model.shortcut", ["D", "a", None, 1]),
        ("training.epochs", [0, 1.0, True, "1", None, INFINITY]),
        ("training.batch_size", [0, -1, 32.0, True, "32"]),
        ("training.lr", [0, 0.0, -1e-3, True, "0.1", None, NAN, INFINITY, -INFINITY]),
        ("training.weight_decay", [-1e-9, True, "0", NAN, INFINITY, "auto"]),
        ("training.label_smoothing", [1, 1.0, -0.1, True, NAN]),
        ("training.optimizer", [None, "sgd", {}, {"kind": "lion"}, {"momentum": 0.5}]),
        ("training.schedule", [None, "cosine", [], {"kind": 1}]),
        ("engine.device", ["gpu", "CPU", 0, None]),
        ("engine.compile", [0, 1, "auto", "true"]),
        ("engine.threads", [0, 1025, 1.0, True]),
        ("seeds.base", [-1, 2**32, True, 0.0, "auto"]),
        ("seeds.order", [-1, 2**32, True, 0.0, "0"]),
        ("data", [None, 5, "mnist", []]),
    ],
)
def test_what_is_not_allowed_is_refused_by_name(dotted, values):
    for value in values:
        with pytest.raises(UserError, match=f"^{dotted} cannot be used: expected "):
            spec(dotted, value)


def test_a_whole_number_serves_as_a_number():
    assert spec("training.lr", 1).training.lr == 1.0


@pytest.mark.parametrize(
    ("dotted", "wrong", "near"),
    [
        ("data", {"nmae": "mnist"}, "data.name"),
        ("training", {"optimiser": "sgd"}, "training.optimizer"),
        ("trainng", {}, "training"),
        ("data.augment", {"cut_out": 4}, "data.augment.cutout"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest(dotted, wrong, near):
    with pytest.raises(UserError, match=rf"unknown setting .*did you mean {near}\?$"):
        spec(dotted, wrong)


@pytest.mark.parametrize("dotted", ["data.name", "model.name"])
def test_names_are_those_of_the_catalogues(dotted):
    catalogue = DATASETS if dotted == "data.name" else NETS
    for entry in catalogue:
        assert get(spec(dotted, entry.name), dotted) == entry.name
    with pytest.raises(UserError, match=f"{dotted}: unknown .*'{catalogue[1].name}x'"):
        spec(dotted, catalogue[1].name + "x")


def test_every_setting_says_what_it_does():
    assert [name for name, text in leaves(RunSpec) if not text] == []
