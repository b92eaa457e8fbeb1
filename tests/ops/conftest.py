"""The kernels that the tests of this folder compute with, and what it takes to build them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from reslab.ops import native
from reslab.ops.native import Kernels, find_kernels
from tests.ops.compilers import program


@pytest.fixture(scope="session", params=["", "AVX2"], ids=["all", "AVX2"])
def kernels(request: pytest.FixtureRequest) -> Kernels:
    """Those for the whole instruction set, and those for the smaller one: 16 and 8 lanes."""
    found = find_kernels({"ONEDNN_MAX_CPU_ISA": request.param})
    if found.kernels is None:
        pytest.skip(found.reason)
    return found.kernels


@pytest.fixture(autouse=True, scope="session")
def _small_work_is_shared() -> Iterator[None]:
    """Images as small as the tests' would otherwise be left to a single thread."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reslab.ops.native._GRAIN", 1)
        yield


@pytest.fixture(scope="session")
def library() -> Path:
    """The library that this machine's compiler makes, built at most once."""
    found = find_kernels()
    if found.kernels is None:
        pytest.skip(found.reason)
    return Path(found.kernels.library._name)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder for kernels, of which this process has loaded none."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    native._load.cache_clear()
    monkeypatch.setattr(native, "_FAILED", {})
    yield tmp_path / "cache" / "reslab" / "kernels"
    native._load.cache_clear()


@pytest.fixture
def compiler(library: Path, tmp_path: Path) -> Path:
    """A program that takes a compiler's arguments and notes each call in ``calls``."""
    return program(
        tmp_path,
        f'echo "$@" >> {tmp_path}/calls',
        'while [ "$1" != -o ]; do shift; done',
        f'{shutil.which("cp")} {library} "$2"',
    )
