import contextlib
import math
import re
import string
import sys

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from reslab.catalog.datasets import DATASETS
from reslab.catalog.nets import NETS, SHORTCUTS, STEMS
from reslab.errors import UserError
from reslab.spec.run import RunSpec
from reslab.spec.text import (
    build,
    format_document,
    merge,
    nest,
    parse_document,
    parse_override,
    parse_value,
    read_document,
)

AUTO = st.just("auto")
SEED = st.integers(0, 2**32 - 1)
FRACTION = st.floats(0, 1, exclude_max=True)
POSITIVE = st.floats(0, exclude_min=True, allow_infinity=False)
COUNT = st.integers(1, 10**9)


def section(**fields):
    """Any part of the fields, so that defaults take part too."""
    return st.fixed_dictionaries({}, optional=fields)


def kind(name, **fields):
    return st.fixed_dictionaries({"kind": st.just(name)}, optional=fields)


WARMUP = st.floats(0, 1e6)
BETAS = {"beta1": FRACTION, "beta2": FRACTION}
# Numbers without a dot are apart: see test_text_that_looks_like_a_number_stays_text.
FOLDERS = st.text(
    st.characters(categories=("L", "N", "P", "S", "Zs")) | st.sampled_from("\n\t"), min_size=1
).map(lambda name: "./" + name)

DOCUMENTS = section(
    recipe=st.sampled_from(["fast", "null", "1.5", "yes", "a: b", "# c", "", " x "]),
    data=section(
        name=st.sampled_from([card.name for card in DATASETS]),
        root=st.none() | FOLDERS,
        validation=AUTO | st.integers(0, 10**6) | FRACTION,
        split_seed=SEED,
        limit=st.none() | COUNT,
        augment=section(
            pad=AUTO | st.integers(0, 64),
            crop=AUTO | COUNT,
            flip=AUTO | st.booleans(),
            cutout=st.integers(0, 99),
        ),
    ),
    model=section(
        name=st.sampled_from([net.name for net in NETS]),
        shortcut=AUTO | st.sampled_from(SHORTCUTS),
        stem=AUTO | st.sampled_from(STEMS),
        zero_init_residual=st.booleans(),
    ),
    training=section(
        epochs=AUTO | COUNT,
        batch_size=AUTO | COUNT,
        lr=AUTO | POSITIVE,
        optimizer=kind("sgd", momentum=FRACTION, nesterov=st.booleans())
        | kind("adam", **BETAS)
        | kind("adamw", **BETAS)
        | kind("muon", momentum=FRACTION, nesterov=st.booleans(), sgd_lr=POSITIVE),
        weight_decay=st.floats(0, allow_infinity=False),
        decay_norm_and_bias=st.booleans(),
        schedule=kind("constant", warmup_epochs=WARMUP)
        | kind("step", warmup_epochs=WARMUP, every=COUNT, factor=POSITIVE)
        | kind("multistep", milestones=st.lists(POSITIVE, min_size=1, max_size=3))
        | kind("cosine", final=FRACTION)
        | kind("onecycle", start=FRACTION),
        label_smoothing=FRACTION,
    ),
    engine=section(
        device=st.sampled_from(["auto", "cpu", "cuda", "mps"]),
        precision=st.sampled_from(["auto", "fp32", "bf16"]),
        memory_format=st.sampled_from(["auto", "contiguous", "channels_last"]),
        threads=AUTO | st.integers(1, 1024),
        compile=st.booleans(),
    ),
    seeds=section(base=SEED, initialisation=AUTO | SEED, order=AUTO | SEED),
)


@given(DOCUMENTS)
@settings(deadline=None, max_examples=60)
def test_a_run_survives_being_written_and_read(document):
    spec = build(RunSpec, document)
    text = format_document(spec.model_dump(mode="json"))
    assert build(RunSpec, parse_document(text, "run.yaml")) == spec
    # Reading it twice over changes nothing: the text is the run.
    assert format_document(parse_document(text, "run.yaml")) == text


def test_written_settings_keep_their_order():
    assert list(parse_document(format_document({"b": 1, "a": 2}), "x")) == ["b", "a"]


@pytest.mark.parametrize("name", ["1e4", "5e-3", "12E+6"])
def test_text_that_looks_like_a_number_stays_text(name):
    spec = build(RunSpec, {"data": {"root": name}})
    text = format_document(spec.model_dump(mode="json"))
    assert parse_document(text, "run.yaml")["data"]["root"] == name


@given(POSITIVE)
@settings(deadline=None)
def test_numbers_are_read_as_python_writes_them(number):
    for value in (number, -number):
        read = parse_value(repr(value))
        assert type(read) is float
        assert read == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E4", 1e4),
        ("+2e+3", 2000.0),
        ("-.5e3", -500.0),
        ("3.e2", 300.0),
        ("0.1", 0.1),
        ("3", 3),
        ("true", True),
        ("null", None),
        ("", None),
        ("[0.5, 0.75]", [0.5, 0.75]),
        ("[1e-3, auto]", [0.001, "auto"]),
        ("{kind: step, every: 30}", {"kind": "step", "every": 30}),
        ("cosine", "cosine"),
        ("'1e-4'", "1e-4"),
        ("e5", "e5"),
        ("1e", "1e"),
        ("1e-4x", "1e-4x"),
    ],
)
def test_values(text, value):
    read = parse_value(text)
    assert read == value
    assert type(read) is type(value)


def test_infinity_and_nan_are_read_but_never_built():
    for text in (".inf", "-.inf", ".nan"):
        assert not math.isfinite(parse_value(text))
        with pytest.raises(UserError, match=r"training.lr cannot be used: expected a finite"):
            build(RunSpec, parse_override(f"training.lr={text}"))


@pytest.mark.parametrize(
    ("text", "document"),
    [
        ("training.lr=1e-4", {"training": {"lr": 1e-4}}),
        ("data.limit=null", {"data": {"limit": None}}),
        ("a.b.c=[1, 2]", {"a": {"b": {"c": [1, 2]}}}),
        ("seed=7", {"seed": 7}),
        (" a.b = x ", {"a": {"b": "x"}}),
        ("data.root=/a=b", {"data": {"root": "/a=b"}}),
        ("a=", {"a": None}),
    ],
)
def test_overrides(text, document):
    assert parse_override(text) == document


@pytest.mark.parametrize("text", ["training.lr", "", "=1", ".lr=1", "training.=1", "a..b=1", " =1"])
def test_an_override_needs_a_key_and_a_value(text):
    with pytest.raises(UserError, match=r"expected KEY=VALUE.*received ") as caught:
        parse_override(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("value", ["[1,", "{a: ", "'x", "a: b: c", "=", "\0", "1\n---\n2"])
def test_an_override_that_is_no_yaml_is_told(value):
    with pytest.raises(UserError, match=r"the value of a.b is not valid YAML.*; quote it"):
        parse_override(f"a.b={value}")


@pytest.mark.parametrize(
    "value",
    [
        "2026-13-45",
        "0b_",
        "!!int x",
        "!!bool x",
        "!!timestamp x",
        pytest.param("[" * 500, id="a deep list"),
    ],
)
def test_an_override_that_yaml_stumbles_over_is_told(value):
    with pytest.raises(UserError, match=r"the value of data.root is not valid YAML"):
        parse_override(f"data.root={value}")


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:{module}.{name} []",
        "!!python/object/new:{module}.{name} []",
        "!!python/name:{module}.{name}",
        "!!python/module:{module}",
        "{{!!python/object/apply:{module}.{name} []: 1}}",
    ],
)
def test_tags_are_refused_and_nothing_is_executed(value, monkeypatch):
    called = []
    monkeypatch.setattr(
        sys.modules[__name__], "trap", lambda *given: called.append(given), raising=False
    )
    value = value.format(module=__name__, name="trap")
    # The trap works: a loader that trusts its input falls into it.
    if "apply" in value and not value.startswith("{"):
        yaml.unsafe_load(value)
        assert called.pop() == ()
    with pytest.raises(UserError, match=r"mine.yaml is not valid YAML at line 1"):
        parse_document(f"a: {value}", "mine.yaml")
    with pytest.raises(UserError, match="the value of a is not valid YAML"):
        parse_override(f"a={value}")
    assert called == []


@pytest.mark.parametrize(
    "text",
    [
        "seeds:\n  base: 1\n  base: 2\n",
        "seeds: {base: 1, base: 1}",
        "base: {}\nbase: {}\n",
        "a: [{base: 1, base: 2}]",
    ],
)
def test_a_key_that_stands_twice_is_refused(text):
    with pytest.raises(UserError, match="base stands twice in the same section; keep one"):
        parse_document(text, "x")


def test_the_same_key_may_stand_in_two_sections():
    assert parse_document("a: {n: 1}\nb: {n: 2}", "x") == {"a": {"n": 1}, "b": {"n": 2}}


@pytest.mark.parametrize("text", ["", "# only a comment\n", "null"])
def test_a_document_without_content_is_told(text):
    # A command that failed into it leaves an empty file, which is not a wish for the defaults.
    with pytest.raises(UserError, match="x is empty"):
        parse_document(text, "x")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- a\n- b", "not a configuration.*received list"),
        ("just words", "not a configuration.*received str"),
        ("1: 2", "not a configuration"),
        ("a: [", "not valid YAML at line 1"),
        ("a: 1\n b: 2", "not valid YAML at line 2"),
        ("a: \x07", "not valid YAML"),
    ],
)
def test_text_that_is_no_configuration_is_told_with_its_origin(text, told):
    with pytest.raises(UserError, match=f"^mine.yaml is {told}") as caught:
        parse_document(text, "mine.yaml")
    assert "\n" not in str(caught.value)
    assert "--print-config" in str(caught.value)


@given(st.text(string.printable, max_size=30))
@settings(deadline=None, max_examples=200)
def test_any_text_is_a_mapping_or_a_user_error(text):
    with contextlib.suppress(UserError):
        assert isinstance(parse_document(text, "x"), dict)


def test_a_file_is_read_as_utf_8(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("data: {root: Größe}\n", encoding="utf-8")
    assert read_document(path) == {"data": {"root": "Größe"}}


def test_a_file_that_cannot_be_read_is_told(tmp_path):
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("data: {root: Größe}\n".encode("latin-1"))
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [")
    for path, told in [
        (tmp_path / "none.yaml", "cannot be read: received no such file"),
        (tmp_path, "cannot be read: received is a directory"),
        (latin, "cannot be read: received not utf-8 text"),
        (broken, "is not valid YAML at line 1"),
    ]:
        with pytest.raises(UserError, match=f"{re.escape(str(path))} {told}"):
            read_document(path)


def test_nest():
    assert nest("a", 1) == {"a": 1}
    assert nest("a.b.c", {"d": 1}) == {"a": {"b": {"c": {"d": 1}}}}


def test_merge_lays_changes_over_the_base():
    base = {"a": {"x": 1, "y": {"z": 2}}, "b": 3}
    assert merge(base, {"a": {"y": {"w": 4}}}, {"b": 5, "c": [6]}) == {
        "a": {"x": 1, "y": {"z": 2, "w": 4}},
        "b": 5,
        "c": [6],
    }
    assert base == {"a": {"x": 1, "y": {"z": 2}}, "b": 3}


def test_merge_replaces_lists_and_lets_null_stand():
    assert merge({"a": [1, 2], "b": 3}, {"a": [4], "b": None}) == {"a": [4], "b": None}


def test_merge_replaces_a_section_whose_kind_changes():
    base = {"schedule": {"kind": "step", "every": 60, "warmup_epochs": 1}}
    assert merge(base, {"schedule": {"kind": "cosine", "final": 0.1}}) == {
        "schedule": {"kind": "cosine", "final": 0.1}
    }
    assert merge(base, {"schedule": {"kind": "step", "every": 30}}) == {
        "schedule": {"kind": "step", "every": 30, "warmup_epochs": 1}
    }
    assert merge(base, {"schedule": {"every": 30}})["schedule"]["kind"] == "step"


def test_merge_takes_a_bare_name_for_a_kind():
    base = RunSpec().model_dump(mode="json")
    spec = build(RunSpec, merge(base, parse_override("training.schedule=cosine")))
    assert spec.training.schedule.kind == "cosine"
    assert spec.training.optimizer == RunSpec().training.optimizer
    # The name that stands already changes nothing.
    tuned = merge(base, parse_override("training.optimizer.momentum=0.5"))
    assert merge(tuned, parse_override("training.optimizer=muon")) == tuned
    # Where there are no kinds, a name is a value like any other.
    assert merge({"data": {"name": "x"}}, {"data": "y"}) == {"data": "y"}


def test_changes_are_laid_one_after_the_other():
    base = RunSpec().model_dump(mode="json")
    changes = ["training.schedule=step", "training.schedule.every=7", "training.lr=1e-2"]
    spec = build(RunSpec, merge(base, *map(parse_override, changes)))
    assert (spec.training.schedule.every, spec.training.lr) == (7, 0.01)
    # A kind may be named after its settings as well.
    assert build(RunSpec, merge(base, *map(parse_override, reversed(changes)))) == spec
    # Another kind takes them away.
    cosine = merge(base, *map(parse_override, [*changes, "training.schedule=cosine"]))
    assert "every" not in cosine["training"]["schedule"]
