"""Inductor; that its outputs are the net's is told by tests/contract/test_engines.py."""

from __future__ import annotations

import pytest

from reslab.inference.catalog import find_engine, obstacle_to
from reslab.inference.inductor import Inductor


def test_without_a_compiler_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert Inductor().obstacle() == "there is no C++ compiler (no-such-compiler)"
    found = obstacle_to(find_engine("inductor"), "cpu", {})
    assert found is not None and "C++ compiler" in found.reason


@pytest.mark.parametrize("named", ["sh", "sh -x"])
def test_with_one_nothing_is_in_the_way(monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    monkeypatch.setenv("CXX", named)
    assert Inductor().obstacle() == ""
