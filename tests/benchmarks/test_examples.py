import doctest
import importlib

import pytest


@pytest.mark.parametrize(
    "name",
    ["accuracy_table", "compare", "damaged", "measure", "provenance", "stock", "tables", "tricks"],
)
def test_examples_of_docstrings_are_true(benchmarks, name):
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried > 0 and failed == 0
