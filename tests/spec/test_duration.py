import pytest

from reslab.spec.duration import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("1.5s", 1.5),
        ("5m", 300),
        ("1h30m", 5400),
        ("1h 2m 3s", 3723),
        ("0s", 0),
        ("1.5h", 5400),
        ("20", 20),
    ],
)
def test_units(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("value", [7, 2.5, None, True])
def test_what_is_no_text_is_left_to_whoever_asks(value):
    assert parse_duration(value) is value


@pytest.mark.parametrize("text", ["", "soon", "1h30", "5m1h", "-3s", "5x"])
def test_other_text_is_told_what_is_expected(text):
    with pytest.raises(ValueError, match="seconds, or such as 90s"):
        parse_duration(text)
