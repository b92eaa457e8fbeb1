import errno
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from reslab.errors import UserError
from reslab.runs import files
from reslab.runs.files import (
    append_line,
    check_space,
    is_leftover,
    locked,
    remove_leftovers,
    write_atomically,
)


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


def test_only_leftovers_are_removed(tmp_path):
    for name in (".a.1-2.tmp", ".hidden", "b.tmp", "c"):
        (tmp_path / name).write_text("x")
    remove_leftovers(tmp_path)
    assert names(tmp_path) == [".hidden", "b.tmp", "c"]
    assert not any(is_leftover(path) for path in tmp_path.iterdir())


def test_lines_are_added(tmp_path):
    for line in ("one", "two"):
        append_line(tmp_path / "log", line)
    assert (tmp_path / "log").read_text() == "one\ntwo\n"
    with pytest.raises(UserError, match="cannot be written: received no such file"):
        append_line(tmp_path / "no" / "log", "x")


def test_a_line_that_was_cut_short_is_left_alone(tmp_path):
    (tmp_path / "log").write_text("one\ntw")
    for line in ("three", "four"):
        append_line(tmp_path / "log", line)
    assert (tmp_path / "log").read_text() == "one\ntw\nthree\nfour\n"


@pytest.mark.skipif(files.fcntl is None, reason="Windows has no fcntl")
@pytest.mark.parametrize("able", [True, False])
def test_the_drive_is_told_to_flush_where_it_can_be(tmp_path, monkeypatch, able):
    done = []

    def control(handle, command):
        done.append(command)
        if not able:
            raise OSError("not on this file system")

    monkeypatch.setattr(files.fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(files.fcntl, "fcntl", control)
    monkeypatch.setattr(os, "fsync", lambda handle: done.append("fsync"))
    write_atomically(tmp_path / "file", b"x")
    assert done == ([51, 51] if able else [51, "fsync"] * 2)


def test_one_process_holds_a_folder(tmp_path):
    code = f"""
from pathlib import Path
from reslab.runs.files import locked
with locked(Path({str(tmp_path)!r})):
    print("held")
"""

    def other():
        return subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )

    with locked(tmp_path):
        assert "is in use: received another process" in other().stderr
    assert other().stdout == "held\n"


def test_too_little_room_is_told_before_anything_is_written(tmp_path, monkeypatch):
    check_space(tmp_path / "a" / "b", 1)
    with pytest.raises(UserError, match=r"too little room for .*b: expected [0-9,]+ MiB for"):
        check_space(tmp_path / "a" / "b", 2**60)
    assert names(tmp_path) == []


def test_a_line_that_was_not_taken_whole_is_not_left_there(tmp_path, monkeypatch):
    append_line(tmp_path / "log", "one")
    real = Path.open

    class Short:
        def __init__(self, *arguments, **options):
            self.file = real(*arguments, **options)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def __getattr__(self, name):
            return getattr(self.file, name)

        def write(self, content):
            return self.file.write(content[:3])

    # A class would not be bound to the path.
    monkeypatch.setattr(Path, "open", lambda *a, **o: Short(*a, **o))  # noqa: PLW0108
    with pytest.raises(UserError, match="no space left"):
        append_line(tmp_path / "log", "another")
    monkeypatch.undo()
    assert (tmp_path / "log").read_text() == "one\n"
