"""The catalogue of trouble."""

from __future__ import annotations

import pytest

from reslab.data.checks.findings import KINDS, found


def test_names_are_unique_and_every_kind_has_a_remedy() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS)
    for kind in KINDS:
        assert kind.what and kind.remedy
        assert not kind.what.endswith(".") and not kind.remedy.endswith(".")


def test_nothing_is_found_where_nothing_is() -> None:
    assert found("empty", []) == ()


def test_a_finding() -> None:
    (one,) = found("duplicate", ["a.png", "b.png"], told="1 picture", spare=["a.png"])
    assert (one.kind.severity, one.files) == ("warning", ("a.png", "b.png"))
    assert one.spare == {"a.png"}


def test_an_unknown_kind_is_a_mistake_of_ours() -> None:
    with pytest.raises(KeyError):
        found("unheard_of", ["a"])
