"""What containers allow; limits of memory are tested where they are used, in test_memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from reslab.engine import cgroups


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(cgroups, "_ROOT", tmp_path / "cgroup")
    monkeypatch.setattr(cgroups, "_OWN", tmp_path / "own")
    return tmp_path


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


def test_without_groups_there_is_no_limit(root: Path) -> None:
    assert cgroups.cpu_limit() is None
    assert cgroups.memory_limits() == []


@pytest.mark.parametrize(
    ("told", "limit"), [("150000 100000", 1.5), ("max 100000", None), ("", None), ("1 0", None)]
)
def test_version_2_has_one_file(root: Path, told: str, limit: float | None) -> None:
    write(root / "cgroup", cpu__max=told)
    assert cgroups.cpu_limit() == limit


@pytest.mark.parametrize(("quota", "limit"), [("200000", 2.0), ("-1", None)])
@pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct"])
def test_version_1_has_two(root: Path, quota: str, limit: float | None, mount: str) -> None:
    (root / "own").write_text(f"4:memory:/x\n2:{mount}:/job\n")
    write(root / "cgroup" / mount / "job", cpu__cfs_quota_us=quota, cpu__cfs_period_us="100000")
    assert cgroups.cpu_limit() == limit


def test_the_lowest_of_groups_within_groups_counts(root: Path) -> None:
    (root / "own").write_text("0::/a/b\n")
    write(root / "cgroup" / "a", cpu__max="100000 100000")
    write(root / "cgroup" / "a" / "b", cpu__max="400000 100000")
    assert cgroups.cpu_limit() == 1.0
