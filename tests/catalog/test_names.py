import pytest

from reslab.catalog.names import check_name, nearest
from reslab.errors import UserError

KNOWN = ("resnet18", "resnet34", "plain18")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("resnet18", "resnet18"),
        ("ResNet34", "resnet34"),
        ("resnt34", "resnet34"),
        ("plian18", "plain18"),
        ("mobilenet", None),
        ("xyz", None),
        ("", None),
    ],
)
def test_nearest(name, meant):
    assert nearest(name, KNOWN) == meant


def test_nearest_takes_any_iterable():
    assert nearest("plane18", iter(KNOWN)) == "plain18"


def test_a_known_name_is_given_back():
    assert check_name("plain18", iter(KNOWN), "net") == "plain18"


def test_a_near_name_is_offered():
    with pytest.raises(UserError) as caught:
        check_name("resnet43", iter(KNOWN), "net")
    assert str(caught.value) == "unknown net 'resnet43'; did you mean 'resnet34'?"


def test_case_counts():
    with pytest.raises(UserError, match="did you mean 'plain18'"):
        check_name("PLAIN18", KNOWN, "net")


def test_all_names_are_listed_where_none_is_near():
    with pytest.raises(UserError) as caught:
        check_name("xyz", KNOWN, "data set")
    assert str(caught.value) == (
        "unknown data set 'xyz': expected one of resnet18, resnet34, plain18"
    )
