"""Numbers beside the specification."""

from __future__ import annotations

import pytest

from reslab.cli.arguments import fraction, whole_number
from reslab.errors import UserError


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("7", 7), ("+3", 3), ("007", 7)])
def test_numbers(text: str, number: int) -> None:
    assert whole_number(text, "--seed", least=0) == number


@pytest.mark.parametrize("text", ["", "-1", "1.5", "x", "1e3", "\u0663", "+", "1 2"])
def test_everything_else_is_told(text: str) -> None:
    with pytest.raises(UserError, match="--top cannot be used"):
        whole_number(text, "--top", least=0)


def test_the_least() -> None:
    with pytest.raises(UserError, match="at least 1"):
        whole_number("0", "--top", least=1)


@pytest.mark.parametrize(("text", "share"), [("0", 0), ("1", 1), ("0.95", 0.95), ("5e-2", 0.05)])
def test_shares(text: str, share: float) -> None:
    assert fraction(text, "--threshold") == share


@pytest.mark.parametrize("text", ["", "x", "-0.01", "1.01", "95", "nan", "inf", "0.9 %"])
def test_what_is_no_share_is_told(text: str) -> None:
    with pytest.raises(UserError, match="--threshold cannot be used: expected a number 0 to 1"):
        fraction(text, "--threshold")


def test_a_share_of_nothing() -> None:
    with pytest.raises(UserError, match=r"above 0 and at most 1, such as 0\.95 for 95 %, received"):
        fraction("0", "--coverage", above=0)
    assert fraction("1e-9", "--coverage", above=0) == 1e-9
