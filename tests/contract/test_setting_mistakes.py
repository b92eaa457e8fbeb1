"""Mistakes in every setting, generated from the specification itself."""

from __future__ import annotations

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from reslab.spec.faults import sections
from reslab.spec.run import RunSpec
from tests.contract.complaints import complaint

# What is wrong for a setting of each type, as YAML.
WRONG = {
    int: ("1.5", "abc", "-1", ".nan", "true", "[1]"),
    float: ("abc", ".nan", ".inf", "-1", "true", "[1]"),
    bool: ("1", "abc", "null", ".nan"),
    str: ("3", "[a]", "true"),
    tuple: ("abc", "[abc]", "[]", "[.nan]", "[-1]"),
    "names": ("nonsense", "3", ".nan", "null"),
}
NAMED = {"data.name", "model.name"}


def members(annotation: Any) -> set[Any]:
    """The plain types that a field takes; literals of text count as ``names``."""
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return set().union(*(members(a) for a in get_args(annotation)))
    if origin is Literal:
        return {"names"}
    if origin is tuple:
        return {tuple}
    if hasattr(annotation, "__metadata__"):
        return members(get_args(annotation)[0])
    return {annotation}


def wrong_values(dotted: str, annotation: Any) -> Iterator[str]:
    kinds = members(annotation) - {type(None)}
    if dotted in NAMED:
        yield from ("nonsense", "3", "null", ".nan")
        return
    if kinds == {"names"} or kinds == {int, "names"} or kinds == {float, "names"}:
        yield "nonsense"
    for kind in kinds - {"names"} or kinds:
        for value in WRONG[kind]:
            # A fraction is right where a count or a fraction is.
            if not (float in kinds and value == "1.5"):
                yield value


def settings(
    model: type[BaseModel], prefix: str = "", before: tuple[str, ...] = ()
) -> Iterator[tuple[str, Any, tuple[str, ...]]]:
    """(dotted name, annotation, overrides that make the setting exist)."""
    for name, info in model.model_fields.items():
        inner = sections(info.annotation)
        dotted = prefix + name
        if not inner:
            annotation = info.annotation
            if name != "kind":
                yield dotted, annotation, before
        for section in inner:
            chosen = before
            if len(inner) > 1:
                chosen = (*before, f"{dotted}={section.model_fields['kind'].default}")
            yield from settings(section, f"{dotted}.", chosen)


CASES = [
    pytest.param(dotted, value, before, id=f"{'-'.join(before)}{dotted}={value}")
    for dotted, annotation, before in settings(RunSpec)
    if dotted != "recipe"
    for value in dict.fromkeys(wrong_values(dotted, annotation))
]
SECTIONS = sorted({(dotted.rpartition(".")[0], before) for dotted, _, before in settings(RunSpec)})


def test_there_are_many_cases() -> None:
    assert len(CASES) > 150


@pytest.mark.parametrize(("dotted", "value", "before"), CASES)
def test_a_wrong_value_is_told(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    dotted: str,
    value: str,
    before: tuple[str, ...],
) -> None:
    sets = [argument for text in (*before, f"{dotted}={value}") for argument in ("--set", text)]
    text = complaint(capsys, tmp_path, "train", "--out", tmp_path / "out", *sets)
    assert dotted in text


@pytest.mark.parametrize(("section", "before"), SECTIONS)
def test_an_unknown_setting_is_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, section: str, before: tuple[str, ...]
) -> None:
    dotted = f"{section}.kidn" if section else "trainig"
    sets = [argument for text in (*before, f"{dotted}=1") for argument in ("--set", text)]
    text = complaint(capsys, tmp_path, "train", "--out", tmp_path / "out", *sets)
    assert f"unknown setting {dotted}" in text


def test_all_faults_are_told_at_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    sets = ("training.lr=-1", "data.name=mnits", "engine.device=gpu", "seeds.bse=1")
    arguments = [argument for text in sets for argument in ("--set", text)]
    text = complaint(capsys, tmp_path, "train", "--out", tmp_path / "out", *arguments)
    assert len(text.splitlines()) == 1 + len(sets)
    assert "did you mean 'mnist'?" in text
    assert "did you mean seeds.base?" in text


# Right by themselves, wrong for the data or for each other.
MISFITS = {
    "crop": (("data.augment.crop=99",), "data.augment.crop"),
    "cutout": (("data.augment.cutout=9",), "data.augment.cutout"),
    "patience without validation": (
        ("training.patience=2", "data.validation=0"),
        "training.patience",
    ),
    "min_delta without patience": (("training.min_delta=0.1",), "training.min_delta"),
    "a validation of less than an image": (("data.validation=0.0001",), "data.validation"),
    "late milestone": (
        ("training.epochs=5", "training.schedule=multistep", "training.schedule.milestones=[9]"),
        "milestones",
    ),
    "late warm-up": (
        ("training.epochs=5", "training.schedule=cosine", "training.schedule.warmup_epochs=9"),
        "warmup_epochs",
    ),
    "a fold without folds": (("data.fold=2",), "data.fold"),
    "a fold beyond": (("data.folds=3", "data.fold=4"), "data.fold"),
    "folds beyond": (("data.folds=500", "data.fold=1"), "data.folds"),
    "class weights": (("training.class_weights=[1,2]",), "training.class_weights"),
    "batch": (("training.batch_size=100000",), "training.batch_size"),
    "single images": (("training.batch_size=1", "model.name=resnet18"), "batch norm"),
    "zero plain": (("model.name=plain14", "model.zero_init_residual=true"), "zero_init_residual"),
    "validation": (("data.validation=1430",), "data.validation"),
    "validation classes": (("data.validation=3",), "data.validation"),
    "limit": (("data.limit=3",), "data.limit"),
    "threads": (("engine.threads=1024",), "engine.threads"),
    "device": (("engine.device=mps",), "device mps"),
}


@pytest.mark.parametrize("case", MISFITS)
def test_settings_that_do_not_fit_are_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, case: str
) -> None:
    sets, said = MISFITS[case]
    arguments = [argument for text in sets for argument in ("--set", text)]
    text = complaint(capsys, tmp_path, "train", "--out", tmp_path / "out", *arguments)
    assert said in text


@pytest.mark.parametrize(
    "arguments",
    [
        ("--set", "training.lr"),
        ("--set", "=3"),
        ("--set", "training..lr=3"),
        ("--set", "training.lr=[1"),
        ("--set",),
        ("--epochs", "many"),
        ("--epochs", "0"),
        ("--batch-size", "-4"),
        ("--lr", "0"),
        ("--lr", "[1"),
        ("--seed", "[1"),
        ("--seed", "-1"),
        ("--seed", "x"),
        ("--model", "resnet21"),
        ("--recipe", "fats"),
        ("--data", "cifar11"),
        ("--no-such-option",),
        ("stray",),
    ],
)
def test_wrong_flags_are_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    complaint(capsys, tmp_path, "train", "--out", tmp_path / "out", *arguments)
