"""Amounts of memory."""

from __future__ import annotations

import pytest

from reslab.spec.sizes import parse_bytes


@pytest.mark.parametrize(
    ("text", "amount"),
    [("1kB", 1024), ("2MiB", 2**21), ("1g", 2**30), ("0.5 TB", 2**39), ("12b", 12), ("0", 0)],
)
def test_units(text: str, amount: int) -> None:
    assert parse_bytes(text) == amount


@pytest.mark.parametrize("text", ["", "much", "-1GB", "1 PB", "1e3", "GB"])
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(ValueError, match="such as 500MB"):
        parse_bytes(text)


def test_numbers_stay_as_they_are() -> None:
    assert parse_bytes(7) == 7
