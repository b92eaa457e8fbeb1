"""The catalogue of engines, and what is told where one cannot be used."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import reslab
from reslab.engine.machine import inspect_machine
from reslab.errors import UserError
from reslab.inference.catalog import (
    AUTO,
    ENGINES,
    INT8,
    MEASURE,
    REFERENCE,
    check_engine,
    check_usable,
    find_engine,
    load_engine,
    obstacle_to,
    obstacle_to_making,
)
from reslab.inference.int8 import Quantized

FEATURES = {**inspect_machine().features, "amx_bf16": True}


def named(entry) -> str:
    return entry.name


@pytest.mark.parametrize("entry", ENGINES, ids=named)
def test_each_names_a_class_with_what_an_engine_has(entry) -> None:
    module, _, kind = entry.where.partition(":")
    path = Path(reslab.__file__).parent / f"{module.removeprefix('reslab.').replace('.', '/')}.py"
    classes = {
        n.name for n in ast.parse(path.read_text("utf-8")).body if isinstance(n, ast.ClassDef)
    }
    assert kind in classes
    engine = load_engine(entry)
    assert callable(engine.prepare) and isinstance(engine.obstacle(), str)


def test_names_stand_once_and_the_reference_is_one_of_them() -> None:
    names = [entry.name for entry in ENGINES]
    assert len({*names, AUTO, MEASURE}) == len(names) + 2
    assert find_engine(REFERENCE).setup_seconds(100) == 0
    assert find_engine("folded").any_size


@pytest.mark.parametrize(
    ("typed", "meant"), [("onnx-runtime", "onnxruntime"), ("foldet", "folded"), ("aut", "auto")]
)
def test_the_nearest_name_is_suggested(typed: str, meant: str) -> None:
    with pytest.raises(UserError, match=f"unknown engine '{typed}'; did you mean '{meant}'"):
        check_engine(typed)


def test_where_none_is_near_all_are_named() -> None:
    with pytest.raises(UserError, match="unknown engine 'tpu'") as caught:
        check_engine("tpu")
    assert all(entry.name in str(caught.value) for entry in ENGINES)


@pytest.mark.parametrize("entry", [e for e in ENGINES if e.packages], ids=named)
def test_a_missing_package_is_told_with_the_remedy(entry, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, entry.packages[0], None)
    found = obstacle_to(entry, "cpu", FEATURES)
    assert f"{entry.packages[0]} is not installed" in found.reason
    assert "`pip install 'reslab[export]'`" in found.remedy
    with pytest.raises(UserError, match=r"cannot be used: .*reslab\[export\]"):
        check_usable(entry, found)


def test_bf16_is_refused_where_it_would_be_slow() -> None:
    found = obstacle_to(find_engine("openvino-bf16"), "cpu", {"amx_bf16": False})
    assert found is None or "amx_bf16" in found.reason or "installed" in found.reason
    assert obstacle_to(find_engine("openvino-bf16"), "cpu", {}) is not None


@pytest.mark.parametrize("entry", ENGINES, ids=named)
def test_what_works_on_the_cpu_alone_says_so(entry) -> None:
    found = obstacle_to(entry, "cuda", FEATURES)
    assert (found is None) == (entry.name in ("eager", "folded"))
    assert found is None or "not on cuda" in found.reason


def test_the_catalogue_imports_neither_torch_nor_an_engine() -> None:
    program = (
        "import sys, reslab.inference.catalog as catalog\n"
        "catalog.check_engine('openvino')\n"
        "print(*({'torch', 'openvino', 'onnxruntime', 'onnx', 'nncf'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_the_extra_holds_their_packages_and_stands_in_that_of_developers() -> None:
    path = Path(__file__).parents[2] / "pyproject.toml"
    extras = tomllib.loads(path.read_text())["project"]["optional-dependencies"]
    assert "reslab[export]" in extras["dev"]
    wanted = {name.partition(">=")[0] for name in extras["export"]}
    assert wanted == {name for entry in ENGINES for name in (*entry.packages, *entry.makers)}


def test_what_makes_a_model_is_not_needed_to_run_it(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    entry = find_engine(INT8)
    before = obstacle_to(entry, "cpu", FEATURES)
    assert before is None or "nncf" not in before.reason
    found = obstacle_to_making(entry)
    assert "nncf is not installed" in found.reason
    assert "reslab[export]" in found.remedy
    assert [e.name for e in ENGINES if obstacle_to_making(e)] == [INT8]


def test_the_model_is_handed_to_the_engine_in_int8_alone() -> None:
    given = Quantized(b"xml", b"numbers")
    assert load_engine(find_engine(INT8), given)._quantized is given
    load_engine(find_engine("openvino"), given)
