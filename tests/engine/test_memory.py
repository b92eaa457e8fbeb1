import subprocess
import sys

import psutil
import pytest
import torch

from reslab.engine import cgroups, memory
from reslab.engine.memory import free_memory, is_out_of_memory, memory_of, peak_bytes

THERE = psutil.virtual_memory().total


@pytest.fixture
def groups(monkeypatch, tmp_path):
    """A folder for control groups in which there are none."""
    monkeypatch.setattr(cgroups, "_ROOT", tmp_path / "cgroup")
    monkeypatch.setattr(cgroups, "_OWN", tmp_path / "own")
    return tmp_path


def limit(folder, *, limit, used=0, cache=0, version=2):
    folder.mkdir(parents=True, exist_ok=True)
    names = {
        2: ("memory.max", "memory.current"),
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    }
    for name, value in zip(names[version], (limit, used), strict=True):
        (folder / name).write_text(f"{value}\n")
    (folder / "memory.stat").write_text(f"anon 1\ninactive_file {cache}\n")


def test_the_cpu_has_the_machines_memory(groups):
    assert memory_of("cpu") == THERE


@pytest.mark.parametrize(("written", "least"), [(1048576, 1048576), ("max", THERE)])
@pytest.mark.parametrize("version", [1, 2])
def test_a_container_may_set_a_lower_limit(groups, written, least, version):
    limit(groups / "cgroup" / ("memory" if version == 1 else ""), limit=written, version=version)
    assert memory_of("cpu") == memory_of("mps") == least


@pytest.mark.parametrize("version", [1, 2])
def test_groups_within_groups_are_all_obeyed(groups, version):
    root = groups / "cgroup" / ("memory" if version == 1 else "")
    told = "3:cpu:/x\n7:memory:/a/b\n" if version == 1 else "0::/a/b\n"
    (groups / "own").write_text(told)
    limit(root / "a" / "b", limit=3_000_000, used=100, version=version)
    limit(root / "a", limit=2_000_000, used=1_500_000, cache=200_000, version=version)
    assert memory_of("cpu") == 2_000_000
    assert free_memory("cpu") == 2_000_000 - 1_500_000 + 200_000


def test_what_others_use_is_not_free(groups, monkeypatch):
    assert 0 < free_memory("cpu") < THERE
    told = psutil.virtual_memory()._replace(available=4096)
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: told)
    assert free_memory("cpu") == 4096
    limit(groups / "cgroup", limit=5000, used=9000)
    assert free_memory("cpu") == 0


def test_what_the_cpus_allocator_says_is_understood():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(RuntimeError("shapes differ"))
    for said in (
        "CUDA error: out of memory",
        "CUDA ran out of memory outside PyTorch's allocator",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "GET was unable to find an engine to execute this computation",
        "MPS backend out of memory (MPS allocated: 8 GB)",
        "DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes.",
        "std::bad_alloc",
    ):
        assert is_out_of_memory(RuntimeError(said)), said
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(KeyError("can't allocate memory"))


def test_the_peak_is_this_processs_own(monkeypatch, tmp_path):
    before = peak_bytes()
    assert 2**26 < before < THERE
    # In a new process, whose peak is near to what it holds, unlike this one's.
    code = (
        "import psutil; from reslab.engine.memory import peak_bytes; before = peak_bytes(); "
        "below = before - psutil.Process().memory_info().rss; "
        "held = b'x' * (below + 2**27); print(peak_bytes() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 2**26 < int(done.stdout) < 2**28
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "none")
    # What resource tells may lag behind by the pages that the kernel counts in batches.
    assert peak_bytes() >= 0.99 * before
    monkeypatch.setattr(memory, "resource", None)
    assert peak_bytes() is None
