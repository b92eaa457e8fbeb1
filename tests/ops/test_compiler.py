"""Finding a compiler and telling its faults; what is built with one: tests/ops/test_native.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from reslab.ops.compiler import BuildError, build_library, find_compilers, no_compiler


def program(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)
    return path


def test_the_usual_ones_are_looked_for_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (program(tmp_path / name) for name in ("one", "two"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_compilers("", ["none", "two", "one"]) == [[str(second)], [str(first)]]
    assert find_compilers("  ", ["none"]) == []


def test_one_that_is_named_may_have_options_and_stands_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "one")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_compilers("one '-D A' -O1", ["one"]) == [["one", "-D A", "-O1"]]
    assert find_compilers("two", ["one"]) == []
    assert find_compilers("one 'open", ["one"]) == []


def test_what_was_looked_for_is_told() -> None:
    assert no_compiler("mine -O1", ["c++"]) == "there is no C++ compiler (mine -O1)"
    assert no_compiler("", ["c++", "cl"]) == "there is no C++ compiler (c++ or cl)"


def test_flags_sources_and_target_are_passed(tmp_path: Path) -> None:
    to = tmp_path / "made"
    compiler = program(tmp_path / "cc", f'echo "$@" > {tmp_path}/call')
    build_library([str(compiler), "-x"], ["-O3"], [Path("a.cpp"), Path("b.cpp")], to)
    assert (tmp_path / "call").read_text() == f"-x -O3 a.cpp b.cpp -o {to}\n"


def test_the_first_complaint_is_quoted(tmp_path: Path) -> None:
    lines = ["echo 'a.cpp:1: note: x' >&2", "echo 'a.cpp:2: error: y' >&2", "exit 1"]
    compiler = str(program(tmp_path / "cc", *lines))
    with pytest.raises(BuildError, match=r"cc could not build the kernels: a.cpp:2: error: y$"):
        build_library([compiler], [], [], tmp_path / "made")
    with pytest.raises(BuildError, match="No such file"):
        build_library([str(tmp_path / "none")], [], [], tmp_path / "made")
