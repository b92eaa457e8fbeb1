"""Finding, loading and calling the kernels; a compiler that only copies makes it quick."""

from __future__ import annotations

import ctypes
import re
import threading
from pathlib import Path

import pytest
import torch
from torch import Tensor

from reslab.engine.memory import is_out_of_memory
from reslab.errors import ReslabError
from reslab.ops import native
from reslab.ops.library import _SOURCES
from reslab.ops.native import (
    Kernels,
    active_kernels,
    find_kernels,
    instruction_set,
    kernels_obstacle,
    using_kernels,
)
from tests.ops.compilers import calls, program

LETTERS = {"int64_t": "l", "int": "i", "double": "d"}


@pytest.mark.parametrize(
    ("capability", "environ", "level"),
    [
        ("AVX512", {}, "x86-64-v4"),
        ("AVX2", {}, "x86-64-v3"),
        ("DEFAULT", {}, None),
        ("NEON", {}, None),
        ("AVX512", {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}, "x86-64-v4"),
        ("AVX512", {"ONEDNN_MAX_CPU_ISA": "avx2"}, "x86-64-v3"),
        ("AVX512", {"ONEDNN_MAX_CPU_ISA": "AVX2_VNNI_2"}, "x86-64-v3"),
        ("AVX512", {"ONEDNN_MAX_CPU_ISA": "AVX"}, None),
        ("AVX2", {"ONEDNN_MAX_CPU_ISA": "SSE41"}, None),
        ("AVX2", {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_AMX"}, "x86-64-v3"),
        ("AVX512", {"DNNL_MAX_CPU_ISA": "AVX2"}, "x86-64-v3"),
        ("AVX512", {"ONEDNN_MAX_CPU_ISA": "ALL", "DNNL_MAX_CPU_ISA": "AVX2"}, "x86-64-v4"),
        ("DEFAULT", {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}, None),
    ],
)
def test_caps_on_instruction_sets_are_obeyed(
    capability: str, environ: dict[str, str], level: str | None
) -> None:
    assert instruction_set(capability, environ) == level


def test_the_kernels_of_a_level_have_its_vectors(library: Path) -> None:
    del library
    for environ, lanes in (({}, (8, 16)), ({"ONEDNN_MAX_CPU_ISA": "AVX2"}, (8,))):
        kernels = find_kernels(environ).kernels
        assert kernels is not None
        assert kernels.lanes in lanes
        assert (kernels.level == "x86-64-v4") == (kernels.lanes == 16)


def test_without_avx2_there_are_none() -> None:
    found = find_kernels({"ONEDNN_MAX_CPU_ISA": "SSE41"})
    assert found.kernels is None
    assert "no AVX2" in found.reason


def test_elsewhere_than_on_linux_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    found = find_kernels({})
    assert found.kernels is None
    assert "Linux" in found.reason


def test_functions_are_called_with_the_types_that_they_take(library: Path) -> None:
    declared = {}
    for path in sorted(_SOURCES.glob("*.cpp")):
        exported = path.read_text().split('extern "C"')[1]
        for name, arguments in re.findall(r"int reslab_(\w+)\(([^)]+)\) try", exported, re.DOTALL):
            declared[name] = "".join(
                "p" if "*" in argument else LETTERS[argument.split()[-2]]
                for argument in arguments.split(",")
            )
    assert declared == native._SIGNATURES
    loaded = ctypes.CDLL(str(library))
    assert all(hasattr(loaded, f"reslab_{name}") for name in declared)


def test_tensors_are_passed_as_addresses(library: Path) -> None:
    del library
    kernels = find_kernels().kernels
    assert kernels is not None
    z = torch.arange(-kernels.lanes, kernels.lanes, dtype=torch.float32).view(2, -1)
    to = torch.empty_like(z)
    ones = torch.ones(kernels.lanes)
    kernels.call("activate", z, ones, ones, to, 2, kernels.lanes, 1)
    assert torch.equal(to, (z + 1).clamp(min=0))


def test_want_of_memory_is_an_error_that_training_knows(kernels: Kernels) -> None:
    # More than a process can address, whatever the machine has.
    nothing = torch.empty(0)
    calls: list[tuple[str, tuple[Tensor | int | None, ...]]] = [
        ("sum", (nothing, nothing, 0, 2**25, 2**31 - 1)),
        # Of an image so large each thread would keep one, within its parallel part.
        ("stride", (*[nothing] * 6, 0, 2**22, 2**22, 16, 32, 2)),
        ("stride_backward", (*[nothing] * 13, 0, 2**22, 2**22, 16, 32, 2)),
    ]
    for name, arguments in calls:
        with pytest.raises(MemoryError, match=f"kernel {name}") as caught:
            kernels.call(name, *arguments)
        assert is_out_of_memory(caught.value)


def test_what_no_kernel_should_throw_ends_no_process(kernels: Kernels) -> None:
    # The standard library refuses what it could not even count.
    with pytest.raises(ReslabError, match="kernel sum failed"):
        kernels.call("sum", None, None, 0, 2**30 - 1, 2**31 - 1)


def test_they_are_built_once_and_then_found_without_a_compiler(
    cache: Path, compiler: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    found = find_kernels({"CXX": str(compiler)})
    assert found.kernels is not None
    assert found.reason.startswith("built for x86-64-v")
    assert [record.message[:16] for record in caplog.records] == ["building kernels"]
    (call,) = calls(tmp_path)
    assert f"-march={found.kernels.level}" in call
    (kept,) = cache.iterdir()
    assert find_kernels({"CXX": str(compiler)}) is found

    native._load.cache_clear()
    again = find_kernels({"CXX": "/no/such/compiler"})
    assert again.kernels is not None
    assert again.kernels.library._name == str(kept)
    assert len(calls(tmp_path)) == 1
    assert len(caplog.records) == 1


def test_a_missing_compiler_is_named(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = find_kernels({"CXX": "no-such-compiler"})
    assert found.kernels is None
    assert "(no-such-compiler)" in found.reason

    monkeypatch.setenv("PATH", "")
    found = find_kernels({})
    assert found.kernels is None
    assert all(name in found.reason for name in ("c++", "g++", "clang++"))
    assert not cache.exists()


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            ["echo 'norm.cpp:3: note: x' >&2", "echo 'norm.cpp:4: error: too old' >&2", "exit 1"],
            "norm.cpp:4: error: too old",
        ),
        (["exit 3"], "exit 3"),
        (["exec sleep 5"], "timed out"),
        (['while [ "$1" != -o ]; do shift; done', 'echo rubbish > "$2"'], "too short"),
        (["true"], "No such file"),
    ],
)
def test_a_compiler_that_fails_is_quoted(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[str], said: str
) -> None:
    if "timed" in said:
        monkeypatch.setattr("reslab.ops.compiler._BUILD_SECONDS", 0.1)
    found = find_kernels({"CXX": str(program(tmp_path, *lines))})
    assert found.kernels is None
    assert said in found.reason
    assert kernels_obstacle({"CXX": str(tmp_path / "compile")}) == found.reason
    assert not list(cache.glob(".build-*"))


def test_they_are_off_unless_switched_on(library: Path) -> None:
    kernels = Kernels(ctypes.CDLL(str(library)), 16, "x86-64-v4", "g++ 12")
    assert active_kernels() is None
    with using_kernels(kernels):
        assert active_kernels() is kernels
        with using_kernels(None):
            assert active_kernels() is None
        assert active_kernels() is kernels
        with pytest.raises(ZeroDivisionError), using_kernels(None):
            raise ZeroDivisionError
        assert active_kernels() is kernels
    assert active_kernels() is None


def test_the_switch_is_a_threads_own(library: Path) -> None:
    del library
    kernels = find_kernels().kernels
    seen: list[object] = []
    with using_kernels(kernels):
        thread = threading.Thread(target=lambda: seen.append(active_kernels()))
        thread.start()
        thread.join()
        assert active_kernels() is kernels
    assert seen == [None]


def test_small_work_is_left_to_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "_GRAIN", 100)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    assert [native.threads_for(n) for n in (0, 99, 199, 200, 300, 10_000)] == [1, 1, 1, 2, 3, 4]
