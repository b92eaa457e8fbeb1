"""The catalogue of trouble."""

from __future__ import annotations

from reslab.data.checks.kinds import KINDS


def test_names_are_unique_and_every_kind_has_a_remedy() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS)
    for kind in KINDS:
        assert kind.what and kind.remedy
        assert not kind.what.endswith(".") and not kind.remedy.endswith(".")
