from pathlib import Path

import pytest

from reslab.errors import UserError
from reslab.paths import find_place, from_home


def test_places_are_found_by_their_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_place("~") == tmp_path
    assert find_place(tmp_path / "none") is None
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert find_place(loop) is None


def test_a_home_need_not_hold_what_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert from_home("~/none") == tmp_path / "none"
    assert from_home("a~/b") == Path("a~/b")


@pytest.mark.parametrize("ask", [find_place, from_home])
def test_the_home_of_nobody_is_told(ask):
    told = "^~no-such-user/x cannot be found: received ~ with no such user; check the path$"
    with pytest.raises(UserError, match=told):
        ask("~no-such-user/x")


def test_a_path_that_cannot_be_followed_is_told():
    with pytest.raises(UserError, match="cannot be found: received file name too long; check"):
        find_place("x" * 5000)
