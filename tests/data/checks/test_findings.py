"""What is found is of a kind that there is."""

from __future__ import annotations

import pytest

from reslab.data.checks.findings import found


def test_nothing_is_found_where_nothing_is() -> None:
    assert found("empty", []) == ()


def test_a_finding() -> None:
    (one,) = found("duplicate", ["a.png", "b.png"], told="1 picture", spare=["a.png"])
    assert (one.kind.severity, one.files) == ("warning", ("a.png", "b.png"))
    assert one.spare == {"a.png"}


def test_an_unknown_kind_is_a_mistake_of_ours() -> None:
    with pytest.raises(KeyError):
        found("unheard_of", ["a"])
