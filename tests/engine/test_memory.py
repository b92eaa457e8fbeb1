import os

import pytest

from reslab.engine import memory
from reslab.engine.memory import (
    choose_checkpoint_segments,
    choose_micro_batches,
    free_memory,
    memory_of,
)
from reslab.errors import UserError

GIB = 2**30


def choose(asked="auto", batch_bytes=GIB, total=8 * GIB, free=8 * GIB, convolutions=1200):
    return choose_checkpoint_segments(
        asked,
        batch_bytes=batch_bytes,
        fixed_bytes=GIB,
        memory=total,
        free=free,
        convolutions=convolutions,
    )


def test_what_fits_easily_is_kept():
    choice = choose(batch_bytes=2 * GIB)
    assert (choice.setting, choice.value) == ("checkpoint_segments", 0)
    assert choice.reason == "the activations of a batch take 2.0 of 8 GiB"


def test_what_would_crowd_the_memory_is_computed_again_in_the_root_of_what_is_kept():
    choice = choose(batch_bytes=2 * GIB + 1)
    assert choice.value == 48
    assert "too much to keep" in choice.reason


def test_what_does_not_fit_beside_others_is_computed_again_before_batches_are_cut():
    assert choose(batch_bytes=GIB, free=3 * GIB).value == 0
    assert choose(batch_bytes=GIB, free=2 * GIB).value == 48


@pytest.mark.parametrize("asked", [0, 7])
def test_a_number_is_taken_as_it_is(asked):
    choice = choose(asked, batch_bytes=99 * GIB)
    assert (choice.value, choice.reason) == (asked, "as asked")


THERE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.fixture
def groups(monkeypatch, tmp_path):
    """A folder for control groups in which there are none."""
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(memory, "_OWN_CGROUP", tmp_path / "own")
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
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


def test_what_others_use_is_not_free(groups):
    (groups / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    4096 kB\nHugePages: 0\n")
    assert free_memory("cpu") == 4096 * 1024
    limit(groups / "cgroup", limit=5000, used=9000)
    assert free_memory("cpu") == 0


def split(
    asked="auto",
    *,
    batch_size=100,
    least=1,
    image_bytes=GIB // 100,
    fixed_bytes=0,
    free=2 * GIB,
):
    return choose_micro_batches(
        asked,
        batch_size=batch_size,
        least=least,
        image_bytes=image_bytes,
        fixed_bytes=fixed_bytes,
        free=free,
    )


def test_a_batch_that_fits_stays_whole():
    choice = split()
    assert (choice.setting, choice.value) == ("micro_batches", 1)
    assert choice.reason == "a step takes 1.0 of 2.0 GiB that are free"


@pytest.mark.parametrize(
    ("fixed", "parts", "seen"), [(GIB, 2, 50), (int(1.6 * GIB), 8, 13), (int(1.75 * GIB), 32, 4)]
)
def test_one_that_does_not_is_cut(fixed, parts, seen):
    choice = split(fixed_bytes=fixed)
    assert choice.value == parts
    assert f"in {parts} parts, and batch norm sees {seen} images at a time" in choice.reason


def test_where_not_even_the_smallest_parts_fit_that_is_told():
    with pytest.raises(UserError, match=r"expected 3.3 GiB for 1 images at a time, received 2.0"):
        split(image_bytes=3 * GIB)
    with pytest.raises(UserError, match=r"expected 2.2 GiB for 2 images at a time, received 2.0"):
        split(batch_size=32, least=2, image_bytes=GIB)
    assert split(batch_size=3, image_bytes=GIB).value == 3


def test_no_part_has_fewer_images_than_the_net_must_see():
    assert split(50, least=2).value == 50
    with pytest.raises(UserError, match="at most 50, for 2 or more images each, received 51"):
        split(51, least=2)
    assert split(100).value == 100
    with pytest.raises(UserError, match="at most 100"):
        split(101)
