import json
import time
from dataclasses import replace

import pytest

import reslab
from reslab.engine.machine import inspect_machine
from reslab.engine.runtime import Runtime
from reslab.folders import cache_folder
from reslab.inference import memo
from reslab.inference.memo import Measured, key_of, memo_path, recall, remember

FOUND = {
    "eager": Measured(setup_seconds=0.5, batch_seconds=0.25),
    "inductor": Measured(failure="it has none", failed_at=time.time()),
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(memo, "cache_folder", lambda _: tmp_path / "cache")
    return tmp_path / "cache"


def test_it_lies_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(memo, "cache_folder", cache_folder)
    assert memo_path() == tmp_path / "reslab" / "engines" / "times.json"


def test_what_is_remembered_is_recalled():
    assert recall("net") == {}
    remember("net", FOUND)
    assert recall("net") == FOUND
    assert recall("other") == {}


def test_a_failure_is_forgotten_after_a_day(monkeypatch):
    remember("net", FOUND)
    now = time.time()
    for later, known in ((23 * 3600, FOUND), (25 * 3600, {"eager": FOUND["eager"]})):
        monkeypatch.setattr(time, "time", lambda later=later: now + later)
        assert recall("net") == known
    # Nor does it come back where something else is measured, or the clock is put right.
    remember("net", {"folded": Measured(batch_seconds=1.0)})
    monkeypatch.setattr(time, "time", lambda: now)
    assert set(recall("net")) == {"eager", "folded"}
    monkeypatch.setattr(time, "time", lambda: now - 3600)
    remember("other", {"inductor": Measured(failure="x", failed_at=now)})
    assert recall("other") == {}


def test_failures_of_older_files_have_no_time_and_are_forgotten():
    remember("net", FOUND)
    document = json.loads(memo_path().read_text())
    del document["measured"]["net"]["inductor"]["failed_at"]
    memo_path().write_text(json.dumps(document))
    assert recall("net") == {"eager": FOUND["eager"]}


def test_what_is_found_later_is_added_and_replaces():
    remember("net", FOUND)
    remember("other", {"folded": Measured(batch_seconds=1.0)})
    later = {"eager": Measured(batch_seconds=3.0), "openvino": Measured(batch_seconds=2.0)}
    remember("net", later)
    assert recall("net") == {**FOUND, **later}
    assert recall("other") == {"folded": Measured(batch_seconds=1.0)}


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"[]",
        b'"text"',
        b'{"format": 99, "measured": {"net": {}}}',
        b'{"format": 1}',
        b'{"format": 1, "measured": [1]}',
        b'{"format": 1, "measured": {"net": 3}}',
        b'{"format": 1, "measured": {"net": {"eager": null}}}',
        b'{"format": 1, "measured": {"net": {"eager": {"batch_seconds": 1}}}}',
        b'{"format": 1, "measured": {"net": {"eager": {"setup_seconds": 1, "batch_seconds": "x",'
        b' "failure": ""}}}}',
        b'{"format": 1, "measured": {"net": {"eager": {"setup_seconds": -1, "batch_seconds": 1,'
        b' "failure": ""}}}}',
        b'{"format": 1, "measured": {"net": {"eager": {"setup_seconds": 1, "batch_seconds": NaN,'
        b' "failure": ""}}}}',
    ],
)
def test_a_damaged_file_is_ignored_and_rewritten(damage, cache):
    cache.mkdir()
    memo_path().write_bytes(damage)
    assert recall("net") == {}
    remember("net", FOUND)
    assert recall("net") == FOUND
    assert json.loads(memo_path().read_text())["format"] == memo.FORMAT
    assert [path.name for path in cache.iterdir()] == ["times.json"]


def test_a_cache_that_cannot_be_used_is_no_error(cache, monkeypatch):
    cache.write_text("a file where the folder should be")
    remember("net", FOUND)
    assert recall("net") == {}

    def homeless(_):
        raise RuntimeError("could not determine home directory")

    monkeypatch.setattr(memo, "cache_folder", homeless)
    remember("net", FOUND)
    assert recall("net") == {}


def test_the_oldest_are_forgotten(monkeypatch):
    monkeypatch.setattr(memo, "_MOST_ENTRIES", 2)
    for name in ("a", "b", "a", "c"):
        remember(name, FOUND)
    assert [name for name in "abc" if recall(name)] == ["a", "c"]


def test_the_key_is_that_of_what_decides_the_time(monkeypatch):
    machine, runtime = inspect_machine(), Runtime()

    def make(name="resnet14", **options):
        return reslab.create_model(name, num_classes=3, **options)

    model = make()
    shape = (8, 3, 32, 32)
    keys = [
        key_of(model, shape, runtime, machine),
        key_of(model, (9, 3, 32, 32), runtime, machine),
        key_of(model, (8, 3, 28, 32), runtime, machine),
        key_of(make("resnet20"), shape, runtime, machine),
        key_of(make(shortcut="B"), shape, runtime, machine),
        key_of(make(activation="silu"), shape, runtime, machine),
        key_of(reslab.create_model("resnet14", num_classes=4), shape, runtime, machine),
        key_of(model, shape, Runtime(threads=7), machine),
        key_of(model, shape, Runtime(memory_format="contiguous"), machine),
        key_of(model, shape, Runtime(device="cuda"), machine),
        key_of(model, shape, runtime, replace(machine, cpu="another")),
        key_of(model, shape, runtime, replace(machine, capability="another")),
        key_of(model, shape, runtime, replace(machine, features={})),
    ]
    monkeypatch.setattr(memo, "package_version", lambda name: "another")
    keys.append(key_of(model, shape, runtime, machine))
    assert len(set(keys)) == len(keys)
    monkeypatch.undo()
    # Other weights take the same time.
    assert key_of(make().eval(), shape, runtime, machine) == keys[0]
