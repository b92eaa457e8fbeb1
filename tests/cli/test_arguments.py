"""Numbers beside the specification."""

from __future__ import annotations

import pytest

from reslab.cli.arguments import whole_number
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
