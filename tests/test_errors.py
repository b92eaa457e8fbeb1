import pickle

import pytest

from reslab import errors
from reslab.errors import Interrupted, ReslabError, TrainingDiverged, UserError


@pytest.mark.parametrize(
    ("kind", "exit_code"),
    [(ReslabError, 1), (UserError, 2), (TrainingDiverged, 1), (Interrupted, 130)],
)
def test_exit_codes(kind, exit_code):
    assert issubclass(kind, ReslabError)
    assert kind("text").exit_code == exit_code


def test_the_drawn_tree_is_the_whole_tree():
    assert ReslabError.__bases__ == (Exception,)
    for kind in ReslabError.__subclasses__():
        if kind.__module__ == errors.__name__:
            assert f"── {kind.__name__}" in errors.__doc__
            assert f"exit code {kind.exit_code}" in errors.__doc__


def test_a_user_error_is_a_value_error_and_divergence_is_none():
    assert issubclass(UserError, ValueError)
    assert not issubclass(TrainingDiverged, ValueError)


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({}, "no"),
        ({"expected": "a"}, "no: expected a"),
        ({"received": "b"}, "no: received b"),
        ({"remedy": "c"}, "no; c"),
        ({"expected": "a", "received": "b"}, "no: expected a, received b"),
        ({"expected": "a", "remedy": "c"}, "no: expected a; c"),
        ({"received": "b", "remedy": "c"}, "no: received b; c"),
        ({"expected": "a", "received": "b", "remedy": "c"}, "no: expected a, received b; c"),
    ],
)
def test_a_user_error_reads_as_one_sentence(parts, text):
    error = UserError("no", **parts)
    assert str(error) == text
    assert error.what == "no"


def test_errors_survive_the_way_between_processes():
    error = UserError("no", expected="a", received="b", remedy="c")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is UserError
    assert (str(copy), copy.what) == (str(error), "no")
