"""Whatever happens to a save or to a file, the last good checkpoint is found."""

import os
import random
from pathlib import Path

import pytest
import torch

from reslab.errors import UserError
from reslab.runs.checkpoint import _DTYPES, Checkpoint, Checkpoints


def checkpoint(step):
    tensors = {"a": torch.full((3, 2), float(step)), "n": torch.tensor(step)}
    return Checkpoint(step, tensors, {"history": [{"loss": 1 / 3}], "step": step})


def load(store):
    found, warnings = store.load()
    assert torch.equal(found.tensors["a"], torch.full((3, 2), float(found.step)))
    assert found.facts["history"] == [{"loss": 1 / 3}]
    return found.step, warnings


@pytest.fixture
def store(tmp_path):
    return Checkpoints(tmp_path / "checkpoint", keep=2)


def test_what_is_saved_is_loaded(store):
    assert store.load() == (None, ())
    store.save(checkpoint(7))
    assert load(store) == (7, ())


@pytest.mark.parametrize("dtype", _DTYPES)
def test_every_type_and_shape_comes_back(store, dtype):
    values = (torch.arange(24).reshape(2, 3, 4) % 2).to(dtype)
    tensors = {
        "whole": values,
        "scalar": values[1, 0, 1],
        "turned": values.permute(2, 0, 1),
        "none": values[:0],
    }
    store.save(Checkpoint(1, tensors, {}))
    found, _ = store.load()
    assert found.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found.tensors[name].dtype == dtype
        assert torch.equal(found.tensors[name], tensor)


def test_layout_and_device_are_not_part_of_it(store):
    image = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last).requires_grad_()
    store.save(Checkpoint(1, {"w": image}, {}))
    found, _ = store.load()
    assert torch.equal(found.tensors["w"], image)
    assert found.tensors["w"].is_contiguous()


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_the_newest_are_kept(tmp_path, keep):
    store = Checkpoints(tmp_path, keep=keep)
    for step in range(5):
        store.save(checkpoint(step))
    assert [int(p.name[5:14]) for p in store.paths()] == [4, 3, 2][:keep]
    store.keep_newest()
    assert [int(p.name[5:14]) for p in store.paths()] == [4]


def test_saving_again_replaces(store):
    store.save(checkpoint(3))
    store.save(checkpoint(3))
    assert len(store.paths()) == 1


def test_other_files_are_none_of_its_business(store):
    store.save(checkpoint(1))
    for name in ("notes.txt", "step-000000009-short.safetensors", ".step.1-2.tmp"):
        (store.folder / name).write_text("x")
    store.save(checkpoint(2))
    store.save(checkpoint(3))
    assert load(store)[0] == 3
    assert len(list(store.folder.iterdir())) == 5


def damage(path, rng, kind):
    content = bytearray(path.read_bytes())
    if kind == "flip":
        place = rng.randrange(8 * len(content))
        content[place // 8] ^= 1 << place % 8
    elif kind == "cut":
        del content[rng.randrange(len(content)) :]
    elif kind == "zeros":
        content[rng.randrange(len(content)) :] = b""
        content += bytes(path.stat().st_size - len(content))
        if bytes(content) == path.read_bytes():
            content[-1] ^= 255
    path.write_bytes(content)


@pytest.mark.parametrize("seed", range(200))
def test_damage_is_detected_and_the_one_before_used(store, seed):
    rng = random.Random(seed)
    store.save(checkpoint(1))
    store.save(checkpoint(2))
    newest = store.paths()[0]
    damage(newest, rng, rng.choice(["flip", "flip", "cut", "zeros"]))
    step, warnings = load(store)
    assert step == 1
    assert warnings == (
        f"{newest.name} is damaged: received content that its checksum does not fit",
    )
    # And a save goes on from there: the damaged one is not kept in the place of a good one.
    store.save(checkpoint(2))
    assert load(store) == (2, ())
    assert newest in store.paths()


def test_after_a_fall_back_the_damaged_newer_one_is_removed(store):
    for step in (1, 5):
        store.save(checkpoint(step))
    newest = store.paths()[0]
    newest.write_bytes(b"")
    store.save(checkpoint(3))
    assert not newest.exists()
    assert load(store) == (3, ())


def test_a_damaged_one_never_takes_the_place_of_a_good_one(store):
    for step in (3, 5):
        store.save(checkpoint(step))
    newest = store.paths()[0]
    newest.write_bytes(newest.read_bytes()[:-1])
    assert load(store)[0] == 3
    store.save(checkpoint(9))
    assert not newest.exists()
    store.paths()[0].write_bytes(b"x")
    assert load(store)[0] == 3


def test_of_two_of_one_step_the_later_counts(store):
    for loss in range(6):
        facts = {"history": [{"loss": loss}]}
        store.save(Checkpoint(7, {"a": torch.zeros(1)}, facts))
        assert store.load()[0].facts["history"] == facts["history"]
        assert len(store.paths()) == 1


def test_one_that_is_removed_while_they_are_listed_is_passed_over(store, monkeypatch):
    store.save(checkpoint(1))
    store.save(checkpoint(2))
    older, newer = sorted(store.folder.iterdir())

    def listed_before(folder):
        older.unlink(missing_ok=True)
        return iter((older, newer))

    monkeypatch.setattr(Path, "iterdir", listed_before)
    assert store.paths() == [newer]


def test_where_none_is_whole_that_is_told(store):
    store.save(checkpoint(1))
    store.paths()[0].write_bytes(b"x")
    with pytest.raises(UserError, match=r"no checkpoint .* can be used: .*begin at step 0"):
        store.load()


def test_a_format_of_tomorrow_is_told(store, monkeypatch):
    monkeypatch.setattr("reslab.runs.checkpoint.FORMAT", 99)
    store.save(checkpoint(1))
    monkeypatch.undo()
    with pytest.raises(UserError, match="expected format 2, received 99"):
        store.load()


# What a save does, in its order; a kill may come before or after each, and within the write.
OPERATIONS = ("open", "write", "half", "fsync", "replace", "fsync folder")


def die_at(operation, when):
    """Let this process end like a killed one: nothing is cleaned up, no buffer written out."""

    def watch(name, real):
        def act(*arguments, **options):
            if name == operation and when == "before":
                os._exit(9)
            found = real(*arguments, **options)
            if name == operation and when == "after":
                os._exit(9)
            return found

        return act

    real_open, real_fsync = Path.open, os.fsync
    synced = []

    class File:
        def __init__(self, *arguments):
            self.file = watch("open", real_open)(*arguments, buffering=0)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, content):
            if operation == "half":
                self.file.write(content[: len(content) // 2])
                os._exit(9)
            return watch("write", self.file.write)(content)

        def flush(self):
            self.file.flush()

        def fileno(self):
            return self.file.fileno()

    def fsync(handle):
        synced.append(handle)
        return watch("fsync" if len(synced) == 1 else "fsync folder", real_fsync)(handle)

    Path.open = lambda *arguments: File(*arguments)  # noqa: PLW0108 - a class would not be bound
    os.fsync = fsync
    Path.replace = watch("replace", Path.replace)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_save_that_is_killed_leaves_the_old_or_the_new(store, operation, when):
    store.save(checkpoint(1))
    child = os.fork()
    if child == 0:
        try:
            die_at(operation, when)
            store.save(checkpoint(2))
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9, "the operation never came"
    renamed = (operation, when) in {
        ("replace", "after"),
        ("fsync folder", "before"),
        ("fsync folder", "after"),
    }
    assert load(store) == (2 if renamed else 1, ())
    store.save(checkpoint(3))
    assert load(store) == (3, ())


def test_a_full_disk_is_told_and_leaves_the_old_one(store, monkeypatch):
    store.save(checkpoint(1))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="cannot be written: received no space left on device"):
        store.save(checkpoint(2))
    monkeypatch.undo()
    assert load(store) == (1, ())
    assert len(list(store.folder.iterdir())) == 1
