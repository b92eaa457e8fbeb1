"""Building the library once, keeping and opening it; a compiler that only copies makes it quick."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

import pytest

from reslab.ops import library as module
from reslab.ops.compiler import BuildError
from reslab.ops.library import compiler_obstacle, is_kept, open_library
from tests.ops.compilers import calls, program

LEVEL = "x86-64-v3"


def test_what_is_kept_needs_no_compiler(cache: Path, compiler: Path, tmp_path: Path) -> None:
    assert not is_kept(LEVEL)
    with pytest.raises(BuildError, match="no C\\+\\+ compiler"):
        open_library(LEVEL, "/no/such/compiler")
    built = open_library(LEVEL, str(compiler))
    assert is_kept(LEVEL)
    (kept,) = cache.iterdir()
    assert open_library(LEVEL, "/no/such/compiler")._name == built._name == str(kept)
    (call,) = calls(tmp_path)
    assert f"-march={LEVEL}" in call


def test_another_level_is_built_too(cache: Path, compiler: Path, tmp_path: Path) -> None:
    for level in (LEVEL, "x86-64-v4"):
        assert not is_kept(level)
        open_library(level, str(compiler))
    assert len(list(cache.iterdir())) == len(calls(tmp_path)) == 2


@pytest.mark.parametrize("name", ["norm.cpp", "simd.h"])
def test_other_sources_are_built_anew(
    cache: Path, compiler: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    open_library(LEVEL, str(compiler))
    sources = shutil.copytree(module._SOURCES, tmp_path / "sources")
    monkeypatch.setattr(module, "_SOURCES", sources)
    assert is_kept(LEVEL)
    with (sources / name).open("a") as file:
        file.write("// changed\n")
    assert not is_kept(LEVEL)
    open_library(LEVEL, str(compiler))
    assert len(list(cache.iterdir())) == len(calls(tmp_path)) == 2


def test_other_flags_are_built_anew(
    cache: Path, compiler: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_library(LEVEL, str(compiler))
    monkeypatch.setattr(module, "_FLAGS", (*module._FLAGS, "-g"))
    open_library(LEVEL, str(compiler))
    assert len(list(cache.iterdir())) == len(calls(tmp_path)) == 2


def test_a_damaged_library_is_built_anew(cache: Path, compiler: Path, tmp_path: Path) -> None:
    kept = module._kept(module._flags(LEVEL))
    kept.parent.mkdir(parents=True)
    kept.write_text("rubbish")
    assert is_kept(LEVEL)
    assert open_library(LEVEL, str(compiler))._name == str(kept)
    assert list(cache.iterdir()) == [kept]
    assert len(calls(tmp_path)) == 1


def test_where_there_is_no_compiler_that_is_told(compiler: Path) -> None:
    assert compiler_obstacle(str(compiler)) == ""
    assert "(/no/such/compiler)" in compiler_obstacle("/no/such/compiler")


def test_where_one_compiler_cannot_the_next_is_asked(
    cache: Path, compiler: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "programs"
    folder.mkdir()
    program(folder, "echo 'c++: error: no OpenMP' >&2", "exit 1").rename(folder / "c++")
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setattr(module, "_COMPILERS", ("c++", "c++"))
    with pytest.raises(BuildError, match=r"c\+\+ could not build the kernels: c\+\+: error: no"):
        open_library(LEVEL, "")
    monkeypatch.setattr(module, "_COMPILERS", ("c++", str(compiler)))
    open_library(LEVEL, "")
    assert len(calls(tmp_path)) == len(list(cache.iterdir())) == 1


def test_what_was_not_loaded_for_long_is_removed_at_the_next_build(
    cache: Path, compiler: Path
) -> None:
    cache.mkdir(parents=True)
    old = time.time() - 31 * 24 * 3600
    gone = ["0123456789abcdef.so", ".0123456789abcdef.so.7-8.tmp"]
    names = ["fedcba9876543210.so", "0123.so", "0123456789abcdef.so.txt"]
    for name in (*gone, *names):
        (cache / name).write_text("")
        os.utime(cache / name, (old, old))
    os.utime(cache / names[0], (old + 2 * 24 * 3600, old + 2 * 24 * 3600))
    kept = Path(open_library(LEVEL, str(compiler))._name)
    assert {path.name for path in cache.iterdir()} == {*names, kept.name}
    # To be loaded is to be used.
    os.utime(kept, (old, old))
    open_library(LEVEL, str(compiler))
    assert kept.stat().st_mtime > time.time() - 3600


def test_it_is_built_elsewhere_where_the_cache_cannot_be_written(
    cache: Path, compiler: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.parent.parent.write_text("a file where a folder should be")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert Path(open_library(LEVEL, str(compiler))._name).parent.parent == tmp_path
    assert not is_kept(LEVEL)
    assert len(calls(tmp_path)) == 1
