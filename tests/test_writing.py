import errno
import os
import re
import stat
from pathlib import Path

import pytest

from reslab import writing
from reslab.errors import UserError
from reslab.writing import check_parent, write_atomically


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_and_replaced(tmp_path):
    path = tmp_path / "file.bin"
    for content in (b"one", b"", b"\0\r\n" * 1000):
        write_atomically(path, content)
        assert path.read_bytes() == content
    assert names(tmp_path) == ["file.bin"]


@pytest.mark.parametrize("old", [b"old", None])
@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), UserError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
    ids=["disk full", "interrupted"],
)
def test_a_write_that_fails_leaves_what_was_there(old, step, failure, told, tmp_path, monkeypatch):
    path = tmp_path / "file.bin"
    if old is not None:
        path.write_bytes(old)

    def fail(*_, **__):
        raise failure

    # Whether pathlib or os does it is not for the test to say.
    monkeypatch.setattr(os, step, fail)
    if hasattr(Path, step):
        monkeypatch.setattr(Path, step, fail)
    with pytest.raises(told) as caught:
        write_atomically(path, b"new" * 1000)
    monkeypatch.undo()
    if told is UserError:
        assert f"{path} cannot be written: received no space left on device; " in str(caught.value)
    assert names(tmp_path) == ([] if old is None else ["file.bin"])
    assert old is None or path.read_bytes() == old


def test_the_content_is_on_disk_before_the_name_is(tmp_path, monkeypatch):
    done = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (done.append("fsync"), fsync(handle)))
    monkeypatch.setattr(
        Path, "replace", lambda path, target: (done.append("replace"), replace(path, target))
    )
    write_atomically(tmp_path / "file", b"x")
    assert done == ["fsync", "replace", "fsync"]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_a_file_is_as_readable_as_any_other(umask, tmp_path):
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "ours", b"x")
        (tmp_path / "other").write_bytes(b"x")
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("ours", "other")]
    assert modes == [0o666 & ~umask] * 2


def test_a_folder_that_is_not_there_is_told(tmp_path):
    path = tmp_path / "none" / "file"
    with pytest.raises(
        UserError, match=f"{re.escape(str(path))} cannot be written: .*no such file"
    ):
        write_atomically(path, b"x")


def test_a_folder_is_not_overwritten(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    with pytest.raises(UserError, match="folder cannot be written"):
        write_atomically(path, b"x")
    assert names(tmp_path) == ["folder"]


@pytest.mark.parametrize("able", [True, False])
def test_the_drive_is_told_to_flush_where_it_can_be(tmp_path, monkeypatch, able):
    done = []

    def control(handle, command):
        done.append(command)
        if not able:
            raise OSError("not on this file system")

    monkeypatch.setattr(writing.fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(writing.fcntl, "fcntl", control)
    monkeypatch.setattr(os, "fsync", lambda handle: done.append("fsync"))
    write_atomically(tmp_path / "file", b"x")
    assert done == ([51, 51] if able else [51, "fsync"] * 2)


def test_a_file_needs_a_folder_that_is_there(tmp_path):
    check_parent(tmp_path / "a.png", "--out")
    with pytest.raises(UserError, match=r"no folder .*none to write a.png to; .*another --out$"):
        check_parent(tmp_path / "none" / "a.png", "--out")
