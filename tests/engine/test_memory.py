import os

import pytest

from reslab.engine import memory
from reslab.engine.memory import choose_checkpoint_segments, memory_of

GIB = 2**30


def choose(asked="auto", batch_bytes=GIB, total=8 * GIB, convolutions=1200):
    return choose_checkpoint_segments(
        asked, batch_bytes=batch_bytes, memory=total, convolutions=convolutions
    )


def test_what_fits_easily_is_kept():
    choice = choose(batch_bytes=2 * GIB)
    assert (choice.setting, choice.value) == ("checkpoint_segments", 0)
    assert choice.reason == "the activations of a batch take 2.0 of 8 GiB"


def test_what_would_crowd_the_memory_is_computed_again_in_the_root_of_what_is_kept():
    choice = choose(batch_bytes=2 * GIB + 1)
    assert choice.value == 48
    assert "too much to keep" in choice.reason


@pytest.mark.parametrize("asked", [0, 7])
def test_a_number_is_taken_as_it_is(asked):
    choice = choose(asked, batch_bytes=99 * GIB)
    assert (choice.value, choice.reason) == (asked, "as asked")


def test_the_cpu_has_the_machines_memory(monkeypatch):
    monkeypatch.setattr(memory, "_CGROUP_LIMITS", ())
    assert memory_of("cpu") == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize(("written", "limit"), [("1048576\n", 1048576), ("max\n", None)])
def test_a_container_may_set_a_lower_limit(monkeypatch, tmp_path, written, limit):
    (tmp_path / "memory.max").write_text(written)
    monkeypatch.setattr(memory, "_CGROUP_LIMITS", (tmp_path / "memory.max", tmp_path / "missing"))
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert memory_of("cpu") == (limit or there)
    assert memory_of("mps") == (limit or there)
