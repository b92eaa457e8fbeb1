import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import reslab


def imported_for_type_checkers() -> dict[str, str]:
    """Name → module, as the TYPE_CHECKING block of the package states it."""
    tree = ast.parse(Path(reslab.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    return {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def loaded_after(statements: str) -> set[str]:
    program = f"{statements}\nimport sys\nprint(*sys.modules, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_exported_names_are_sorted_and_stand_once():
    assert reslab.__all__ == sorted(set(reslab.__all__))


def test_the_names_that_are_fixed_are_exported():
    fixed = {"ReslabError", "RunSpec", "create_model", "list_models", "load_run", "recipe", "train"}
    assert fixed <= set(reslab.__all__)


def test_type_checkers_see_the_same_names():
    assert set(imported_for_type_checkers()) == set(reslab.__all__)


@pytest.mark.parametrize("name", reslab.__all__)
def test_every_exported_name_resolves_to_what_type_checkers_see(name):
    value = getattr(reslab, name)
    assert value.__name__ == name
    assert value.__module__ == imported_for_type_checkers()[name]


def test_dir_lists_the_exported_names():
    assert {*reslab.__all__, "__version__"} == set(dir(reslab))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'reslab' has no attribute 'no_such_name'"):
        _ = reslab.no_such_name
    with pytest.raises(ImportError):
        exec("from reslab import no_such_name", {})


def test_the_version_is_one_that_packaging_knows():
    assert re.fullmatch(r"\d+(\.\d+)*((a|b|rc)\d+)?(\.dev\d+)?", reslab.__version__)


def test_import_loads_nothing_heavy():
    loaded = loaded_after("import reslab")
    assert "reslab" in loaded
    assert not loaded & {"torch", "torchvision", "numpy", "sklearn", "PIL", "pydantic", "yaml"}


def test_specifications_and_errors_load_no_torch():
    loaded = loaded_after("import reslab\nreslab.recipe('paper')\nreslab.UserError('x')")
    assert "reslab.spec.run" in loaded
    assert not loaded & {"torch", "torchvision", "sklearn"}
