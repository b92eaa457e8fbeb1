import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from reslab.errors import UserError
from reslab.spec.data import AugmentSpec, DataSpec
from reslab.spec.faults import describe_faults, leaves, sections
from reslab.spec.optimizers import SGD, Adam, AdamW, Muon
from reslab.spec.run import RunSpec
from reslab.spec.text import build, merge, nest

# A wrong value for a setting, and what its sentence says.
WRONG = {
    "data.name": ("mnits", "./mnits; did you mean 'mnist'?"),
    "data.validation": (-1, "at least 0"),
    "data.split_seed": (1.5, "a whole number"),
    "data.limit": (0, "at least 1"),
    "data.augment.pad": (65, "at most 64 or auto"),
    "data.augment.flip": ("yes", "true or false or auto"),
    "model.name": ("resnet21", "model.name: unknown net 'resnet21'; did you mean"),
    "model.stem": ("large", "imagenet or small or auto"),
    "training.epochs": (None, "received nothing"),
    "training.lr": (float("nan"), "a finite number"),
    "training.weight_decay": ("much", "a number"),
    "training.label_smoothing": (1, "less than 1"),
    "training.optimizer": ({"kind": "lion"}, "kind sgd, adam, adamw, muon"),
    "engine.device": ("gpu", "auto, cpu, cuda or mps"),
    "engine.compile": (1, "true or false"),
    "seeds.order": (True, "a whole number"),
    "recipe": (3, "text"),
    "sedes": ({}, "unknown setting sedes; did you mean seeds?"),
    "data.rooot": ("x", "unknown setting data.rooot; did you mean data.root?"),
    "training.schedule.wamup": (1, "unknown setting training.schedule.wamup; did you mean "),
}


def leaves_of_the_schema(schema, node, prefix=""):
    """Every setting's dotted name, from the JSON schema."""
    for name, child in node.get("properties", {}).items():
        options = child.get("oneOf", [child])
        inner = [
            schema["$defs"][option["$ref"].rpartition("/")[2]]
            for option in options
            if "$ref" in option
        ]
        if not inner and name != "kind":
            yield prefix + name
        for section in inner:
            yield from leaves_of_the_schema(schema, section, f"{prefix}{name}.")


def faults_of(document):
    with pytest.raises(ValidationError) as caught:
        RunSpec.model_validate(document)
    return describe_faults(RunSpec, caught.value)


def test_leaves_name_every_setting():
    schema = RunSpec.model_json_schema()
    expected = list(leaves_of_the_schema(schema, schema))
    assert [name for name, _ in leaves(RunSpec) if "=" not in name] == expected
    assert {"training.schedule.milestones", "data.augment.flip", "recipe"} <= set(expected)


def test_leaves_name_every_kind_before_its_settings():
    names = [name for name, _ in leaves(RunSpec)]
    start = names.index("training.optimizer=sgd")
    assert names[start : start + 4] == [
        "training.optimizer=sgd",
        "training.optimizer.momentum",
        "training.optimizer.nesterov",
        "training.optimizer=adam",
    ]


def test_leaves_take_a_prefix():
    assert next(iter(leaves(AugmentSpec, "a.b.")))[0] == "a.b.pad"


def test_sections_of_an_annotation():
    fields = {**RunSpec.model_fields, **RunSpec().training.__class__.model_fields}
    assert sections(fields["data"].annotation) == [DataSpec]
    assert sections(fields["optimizer"].annotation) == [SGD, Adam, AdamW, Muon]
    assert sections(fields["lr"].annotation) == []
    assert sections(DataSpec | None) == [DataSpec]


@pytest.mark.parametrize("dotted", WRONG)
def test_every_fault_is_one_line_that_names_the_setting(dotted):
    value, told = WRONG[dotted]
    (sentence,) = faults_of(merge(RunSpec().model_dump(mode="json"), nest(dotted, value)))
    assert told in sentence
    assert dotted in sentence
    assert "\n" not in sentence
    assert sentence.startswith(dotted) or sentence.startswith(f"unknown setting {dotted}")


@given(st.sets(st.sampled_from(sorted(WRONG)), min_size=2))
@settings(deadline=None, max_examples=40)
def test_all_faults_are_told_at_once(wrong):
    # A section of an unknown kind hides nothing else here: no other name stands below it.
    changes = [nest(dotted, WRONG[dotted][0]) for dotted in wrong]
    with pytest.raises(UserError) as caught:
        build(RunSpec, merge(RunSpec().model_dump(mode="json"), *changes), "my.yaml")
    head, *lines = str(caught.value).splitlines()
    assert head == f"my.yaml: {len(wrong)} settings cannot be used:"
    assert len(lines) == len(wrong)
    for dotted in wrong:
        assert sum(WRONG[dotted][1] in line and dotted in line for line in lines) == 1


@pytest.mark.parametrize(
    ("origin", "head", "remedy"),
    [("", "", "with --set training.epochs=VALUE"), ("my.yaml", "my.yaml: ", "there")],
)
def test_a_single_fault_needs_no_list(origin, head, remedy):
    with pytest.raises(UserError) as caught:
        build(RunSpec, nest("training.epochs", 0), origin)
    assert str(caught.value) == (
        f"{head}training.epochs cannot be used: expected at least 1 or auto, received 0; "
        f"correct it {remedy}"
    )


def test_a_union_is_one_fault_that_names_all_ways_out():
    (sentence,) = faults_of(nest("data.validation", "some"))
    assert "expected a whole number or a number or auto, received 'some'" in sentence


def test_an_unknown_key_without_a_near_one_lists_all():
    (sentence,) = faults_of({"data": {"qqq": 1}})
    assert sentence == (
        "unknown setting data.qqq; data has name, root, validation, split_seed, limit, folds, "
        "fold, group_by, sampling, fit, background, image_size, test, exclude, cache_size, augment"
    )
    (sentence,) = faults_of({"qqq": 1})
    assert sentence.endswith(
        "a run has recipe, data, model, training, evaluation, engine, checkpoint, seeds"
    )


def test_an_unknown_key_of_a_kind_is_compared_with_that_kind():
    (sentence,) = faults_of(nest("training.optimizer", {"kind": "adam", "beta": 0.5}))
    assert "did you mean training.optimizer.beta" in sentence
    (sentence,) = faults_of(nest("training.optimizer", {"kind": "sgd", "beta1": 0.5}))
    assert sentence.endswith("training.optimizer has kind, momentum, nesterov")


def test_a_setting_without_its_section_is_found():
    with pytest.raises(UserError, match=r"unknown setting lr; did you mean training\.lr\?"):
        build(RunSpec, {"lr": 0.1})
