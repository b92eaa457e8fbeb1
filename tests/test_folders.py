from __future__ import annotations

from pathlib import Path

import pytest

from reslab.folders import cache_folder


def test_what_can_be_fetched_again_lies_where_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("kernels") == tmp_path / "reslab" / "kernels"
    assert not cache_folder("kernels").exists()


@pytest.mark.parametrize("named", [None, "", "relative/folder", "~/folder"])
def test_it_lies_at_home_where_no_absolute_path_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, named: str | None
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    if named is None:
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", named)
    assert cache_folder("data") == tmp_path / ".cache" / "reslab" / "data"
