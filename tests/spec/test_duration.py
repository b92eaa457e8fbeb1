import pytest

from reslab.spec.duration import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("1.5s", 1.5), ("5m", 300), ("1h30m", 5400), ("1h 2m 3s", 3723), ("0s", 0)],
)
def test_units(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("value", ["", "soon", "1h30", "5m1h", "1.5h", "-3s", 7, 2.5, None, True])
def test_anything_else_is_left_to_whoever_asks(value):
    assert parse_duration(value) is value
