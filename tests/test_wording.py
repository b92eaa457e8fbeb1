"""The examples in the docstrings are most of the tests of these functions."""

from __future__ import annotations

import math
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reslab.wording import clock, counted, loss_text, one_line, shown


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 steps"),
        (1.0, "1 step"),
        (0.004, "0.004 steps"),
        (99.96, "100 steps"),
        (1e6, "1000000 steps"),
    ],
)
def test_numbers_have_their_noun(number: float, text: str) -> None:
    assert counted(number, "step") == text


@pytest.mark.parametrize("loss", [math.nan, math.inf, -1e9])
def test_losses_that_are_none_are_told_shortly(loss: float) -> None:
    assert len(loss_text(loss)) < 12


def test_hours_have_two_digits_of_minutes() -> None:
    assert clock(3599.6) == "1:00:00"


@given(text=st.one_of(st.text(), st.binary().map(os.fsdecode)))
def test_what_is_shown_can_be_shown_in_a_line(text: str) -> None:
    for told in (shown(text), one_line(text)):
        assert told.isprintable() and told.encode().decode() == told
