import copy

import pytest
from pydantic import ValidationError

from reslab.errors import UserError
from reslab.spec.faults import leaves
from reslab.spec.resolved import FORMAT, ResolvedRun, upgrade
from reslab.spec.run import RunSpec
from reslab.spec.text import build, format_document, merge, nest, parse_document

DECIDED = {
    "data": {
        "validation": 10, "image_size": 8,
        "augment": {"pad": 1, "fill": "black", "crop": 8, "flip": False, "resized": 1.0},
    },
    "model": {"name": "resnet14", "shortcut": "A", "stem": "small"},
    "training": {"epochs": 3, "batch_size": 20, "lr": 0.1},
    "engine": {
        "device": "cpu", "precision": "fp32", "memory_format": "contiguous", "threads": 1,
        "kernels": "torch", "checkpoint_segments": 0, "micro_batches": 1,
    },
    "seeds": {"initialisation": 0, "order": 1, "augmentation": 2},
    "facts": {
        "classes": ["a", "b"], "channels": 1, "image_size": 8, "mean": [0.25], "sd": [0.5],
        "train_images": 90, "val_images": 10, "steps_per_epoch": 4, "fingerprint": "00ff" * 16,
    },
}  # fmt: skip


def document(*changes):
    return merge(RunSpec().model_dump(mode="json"), copy.deepcopy(DECIDED), *changes)


def settings_that_may_be_auto():
    for dotted, _ in leaves(RunSpec):
        if "=" not in dotted and "." in dotted:
            try:
                build(RunSpec, nest(dotted, "auto"))
            except UserError:
                continue
            if dotted not in (
                "data.root",
                "data.group_by",
                "data.exclude",
            ):  # a path may be called auto
                yield dotted


OPEN = tuple(settings_that_may_be_auto())


def without(dotted):
    whole = document()
    *above, name = dotted.split(".")
    part = whole
    for section in above:
        part = part[section]
    del part[name]
    return whole


def test_a_complete_run_is_built():
    run = build(ResolvedRun, document())
    assert run.format == FORMAT
    assert run.facts.classes == ("a", "b")
    assert isinstance(run, RunSpec)


def test_there_are_settings_that_may_be_auto():
    assert {"data.validation", "training.lr", "engine.device", "seeds.order"} <= set(OPEN)
    assert len(OPEN) == 24


@pytest.mark.parametrize("dotted", OPEN)
def test_nothing_may_be_left_open(dotted):
    told = f"^{dotted}( cannot be used: expected .*received 'auto'|: unknown net 'auto')"
    with pytest.raises(UserError, match=told):
        build(ResolvedRun, document(nest(dotted, "auto")))


# What runs from before a setting lack, and what they were made with.
YOUNGER = {
    "engine.kernels": "torch",
    "engine.checkpoint_segments": 0,
    "engine.micro_batches": 1,
    "evaluation.flip": False,
    "data.image_size": None,
    "data.augment.fill": "black",
    "data.augment.resized": 1.0,
}


@pytest.mark.parametrize(("dotted", "value"), YOUNGER.items())
def test_a_run_of_before_opens_as_what_it_was(dotted, value):
    found = build(ResolvedRun, without(dotted))
    for name in dotted.split("."):
        found = getattr(found, name)
    assert found == value


def test_a_run_of_format_1_is_upgraded():
    old = {**document(), "format": 1}
    del old["checkpoint"], old["training"]["time_limit"], old["training"]["non_finite"]
    assert build(ResolvedRun, upgrade(old, "run.yaml")) == build(ResolvedRun, document())
    assert old["format"] == 1
    new = {**document(), "format": FORMAT}
    assert upgrade(new, "run.yaml") == new


@pytest.mark.parametrize("found", [0, 3, "1", True, None])
def test_other_formats_are_told(found):
    with pytest.raises(UserError, match=r"run.yaml has a format .*expected format 2 or older"):
        upgrade({**document(), "format": found}, "run.yaml")


@pytest.mark.parametrize("dotted", [d for d in OPEN if d not in YOUNGER])
def test_nothing_that_was_open_may_be_missing(dotted):
    with pytest.raises(UserError, match=f"^{dotted} cannot be used: expected a value"):
        build(ResolvedRun, without(dotted))


@pytest.mark.parametrize("name", DECIDED["facts"])
def test_every_fact_is_needed(name):
    with pytest.raises(UserError, match=f"^facts.{name} cannot be used: expected a value"):
        build(ResolvedRun, without(f"facts.{name}"))


def test_a_run_as_it_was_asked_is_not_resolved():
    with pytest.raises(UserError, match=r"^run.yaml: \d+ settings cannot be used") as caught:
        build(ResolvedRun, RunSpec().model_dump(mode="json"), "run.yaml")
    left_open = [dotted for dotted in OPEN if dotted != "evaluation.flip"]
    assert len(str(caught.value).splitlines()) == 1 + len(left_open) + 1  # and the facts


@pytest.mark.parametrize(
    ("dotted", "value"),
    [
        ("format", 3),
        ("format", "1"),
        ("data.validation", 0.1),
        ("facts.channels", 0),
        ("facts.steps_per_epoch", 0),
        ("facts.mean", [float("nan")]),
        ("facts.mean", ["0.5"]),
        ("facts.sd", [float("inf")]),
        ("facts.classes", [1, 2]),
        ("facts.classes", "ab"),
        ("facts.train_images", True),
        ("facts.val_images", -1),
        ("training.lr", float("inf")),
        ("engine.device", "tpu"),
        ("data.augment.crop", 0),
    ],
)
def test_facts_and_decisions_are_checked(dotted, value):
    with pytest.raises(UserError, match=f"^{dotted} cannot be used"):
        build(ResolvedRun, document(nest(dotted, value)))


def test_unknown_facts_are_refused():
    with pytest.raises(UserError, match=r"facts.chanels; did you mean facts.channels\?"):
        build(ResolvedRun, document({"facts": {"chanels": 1}}))


def test_it_is_frozen():
    run = build(ResolvedRun, document())
    with pytest.raises(ValidationError, match="frozen"):
        run.facts.channels = 3
    with pytest.raises(ValidationError, match="frozen"):
        run.training.lr = 1.0


def test_it_has_every_setting_of_what_was_asked():
    asked = {name for name, _ in leaves(RunSpec)}
    decided = {name for name, _ in leaves(ResolvedRun)}
    assert {name for name in decided - asked if not name.startswith("facts.")} == {"format"}
    assert asked <= decided


def test_total_steps():
    assert build(ResolvedRun, document()).total_steps == 12


def test_what_is_written_is_read_back():
    run = build(ResolvedRun, document({"training": {"lr": 0.1 + 0.2}}))
    text = format_document(run.model_dump(mode="json"))
    assert build(ResolvedRun, parse_document(text, "run.yaml")) == run


def test_asked_is_a_run_to_ask_for():
    asked = build(ResolvedRun, document()).asked()
    spec = build(RunSpec, asked)
    assert spec.model_dump(mode="json") == asked
    assert (spec.training.lr, spec.seeds.augmentation, spec.data.validation) == (0.1, 2, 10)
    assert not {"facts", "format"} & set(asked)
