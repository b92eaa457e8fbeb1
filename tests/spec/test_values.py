import pytest
from pydantic import ValidationError

from reslab.spec.values import Count, Fraction, Frozen


class Box(Frozen):
    size: Count = 1
    share: Fraction = 0.5


def test_values_are_as_strict_from_code_as_from_text():
    for wrong in ({"size": 1.0}, {"size": True}, {"size": 0}, {"share": "0.5"}, {"share": 1}):
        with pytest.raises(ValidationError):
            Box(**wrong)
    with pytest.raises(ValidationError):
        Box(colour="red")
    assert Box(size=2, share=0).share == 0.0


def test_values_cannot_change_and_are_equal_keys():
    box = Box(size=3)
    with pytest.raises(ValidationError):
        box.size = 4
    assert {box: 1}[Box(size=3)] == 1
