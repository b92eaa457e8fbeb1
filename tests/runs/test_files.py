import subprocess
import sys
from pathlib import Path

import pytest

from reslab.errors import UserError
from reslab.runs import files
from reslab.runs.files import append_line, check_space, is_leftover, locked, remove_leftovers


def names(folder):
    return sorted(path.name for path in folder.iterdir())


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
