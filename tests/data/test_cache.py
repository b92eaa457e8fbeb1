"""Where downloads are kept; whole downloads are shown in test_idx.py and test_cifar.py."""

from __future__ import annotations

import socket

import pytest

from reslab.data.cache import download_staging
from reslab.data.catalog import find_card
from reslab.errors import UserError
from reslab.folders import cache_folder


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_staging_is_gone_afterwards_and_the_time_limit_too():
    before = socket.getdefaulttimeout()
    with download_staging(find_card("mnist")) as staging:
        assert staging.parent == cache_folder("data")
        assert socket.getdefaulttimeout() == 60.0
        (staging / "part").write_text("half")
    assert list(cache_folder("data").iterdir()) == []
    assert socket.getdefaulttimeout() == before


@pytest.mark.parametrize("error", [OSError("refused"), RuntimeError("another sum")])
def test_what_fails_is_told_and_leaves_nothing(error):
    with (
        pytest.raises(UserError, match=rf"mnist could not be downloaded.*{error}"),
        download_staging(find_card("mnist")) as staging,
    ):
        (staging / "part").write_text("half")
        raise error
    assert list(cache_folder("data").iterdir()) == []


def test_a_cache_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "reslab").write_text("a file in the way")
    with (
        pytest.raises(UserError, match="could not be downloaded"),
        download_staging(find_card("mnist")),
    ):
        pass
