import errno
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reslab.errors import UserError
from reslab.runs import folder as module
from reslab.runs.folder import RunFolder
from reslab.runs.new_folder import check_free

MADE = ["checkpoint", "run.yaml", "weights"]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def create(path):
    return RunFolder.create(path, "format: 1\n")


@pytest.fixture
def run(tmp_path):
    return create(tmp_path / "run")


# Making a run's folder.


@pytest.mark.parametrize("place", ["run", "a/b/run"])
def test_create_makes_the_folder_and_its_parents(place, tmp_path):
    made = create(tmp_path / place)
    assert made.path == tmp_path / place
    assert names(made.path) == MADE
    assert made.weights("best") == made.path / "weights" / "best.safetensors"
    assert made.weights("best").parent.is_dir()


def test_create_takes_an_empty_folder(tmp_path):
    (tmp_path / "run").mkdir()
    assert names(create(tmp_path / "run").path) == MADE


def test_what_a_killed_start_left_is_taken_for_empty(tmp_path):
    (tmp_path / ".run.yaml.12-34.tmp").write_text("half")
    check_free(tmp_path)
    assert names(create(tmp_path).path) == MADE


def test_a_folder_is_completed(run):
    (run.path / "checkpoint").rmdir()
    (run.path / "weights" / ".best.safetensors.12-34.tmp").write_text("half")
    (run.path / "weights" / "best.safetensors").write_text("whole")
    run.complete()
    assert names(run.path) == MADE
    assert names(run.path / "weights") == ["best.safetensors"]
    assert run.has("run.yaml") and not run.has("metrics.json") and not run.has("weights")


@pytest.mark.parametrize("make", [check_free, create])
def test_a_folder_that_holds_something_is_refused_and_left_alone(make, tmp_path):
    (tmp_path / ".hidden").write_text("mine")
    with pytest.raises(UserError, match=r"is not empty: .*; choose another --out"):
        make(tmp_path)
    assert names(tmp_path) == [".hidden"]


@pytest.mark.parametrize("make", [check_free, create])
@pytest.mark.parametrize("below", ["", "run", "a/run"])
def test_a_file_is_refused_and_left_alone(make, below, tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(UserError, match="file"):
        make(file / below)
    assert file.read_text() == "mine"


@pytest.mark.parametrize("make", [check_free, create])
def test_a_folder_that_may_not_be_written_to_is_refused(make, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(os, "access", lambda path, mode: bool(asked.append((Path(path), mode))))
    with pytest.raises(UserError, match=r"cannot be made: received not permitted; choose another"):
        make(tmp_path / "a" / "run")
    assert asked == [(tmp_path, os.W_OK | os.X_OK)]
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", fail)
    with pytest.raises(UserError, match="cannot be written: received read-only file system"):
        create(tmp_path / "run")


def test_a_dangling_link_is_refused(tmp_path):
    (tmp_path / "run").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError):
        create(tmp_path / "run")


def test_relative_paths_are_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert create(Path("run")).path == Path("run")
    assert (tmp_path / "run" / "weights").is_dir()


# Opening one.


def test_open_takes_what_create_made(run):
    assert RunFolder.open(run.path) == run


def test_open_refuses_what_is_no_run(tmp_path):
    file = tmp_path / "file"
    file.write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "odd" / module.SPEC).mkdir(parents=True)
    for path, told in [
        (tmp_path / "none", "there is no run .*none; `reslab runs` lists"),
        (file, "file is not a run: .*, received a file; `reslab runs`"),
        (tmp_path / "empty", "is not a run: .*, received a folder without run.yaml"),
        (tmp_path / "odd", "is not a run"),
    ]:
        with pytest.raises(UserError, match=told):
            RunFolder.open(path)


# Reading and writing within it.


@given(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r")))
@settings(deadline=None, max_examples=15)
def test_text_is_read_back(tmp_path_factory, text):
    run = RunFolder(tmp_path_factory.mktemp("run"))
    run.write_text("note.txt", text)
    assert run.read_text("note.txt") == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(st.dictionaries(st.text(), JSON, max_size=4))
@settings(deadline=None, max_examples=15)
def test_json_is_read_back(tmp_path_factory, document):
    run = RunFolder(tmp_path_factory.mktemp("run"))
    run.write_json("note.json", document)
    assert run.read_json("note.json") == document
    assert json.loads((run.path / "note.json").read_bytes()) == document


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object()])
def test_what_json_cannot_hold_replaces_nothing(value, run):
    run.write_json("note.json", {"a": 1})
    with pytest.raises((ValueError, TypeError)):
        run.write_json("note.json", {"a": value})
    assert run.read_json("note.json") == {"a": 1}


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1', b"[1]", b"null", b"1", b"{'a': 1}"])
def test_damaged_json_is_told(content, run):
    (run.path / "metrics.json").write_bytes(content)
    for read in (lambda: run.read_json("metrics.json"), run.read_metrics):
        with pytest.raises(
            UserError, match=r"metrics.json is damaged: expected a JSON object; restore"
        ):
            read()


def test_a_file_that_cannot_be_read_is_told(run):
    (run.path / "latin.json").write_bytes(b'{"a": "\xe9"}')
    (run.path / "folder.json").mkdir()
    for name, told in [
        ("none.json", "no such file"),
        ("latin.json", "not utf-8 text"),
        ("folder.json", "is a directory"),
    ]:
        for read in (run.read_json, run.read_text):
            with pytest.raises(UserError, match=f"{name} cannot be read: received {told}.*restore"):
                read(name)


def test_metrics_are_empty_until_there_are_some(run):
    assert run.read_metrics() == {}
    run.write_json(module.METRICS, {"top1": 0.5})
    assert run.read_metrics() == {"top1": 0.5}


def test_the_names_in_a_run_differ():
    files = [
        value for name, value in vars(module).items() if name.isupper() and isinstance(value, str)
    ]
    assert len(set(files)) == len(files)
    assert {"run.yaml", "environment.json", "history.csv", "metrics.json", "log.txt"} <= set(files)


def test_lines_are_appended_whole(tmp_path, monkeypatch):
    folder = create(tmp_path / "run")
    assert folder.read_openings() == []
    for i in range(3):
        folder.append_line("openings.jsonl", json.dumps({"by": i}))
    assert [o["by"] for o in folder.read_openings()] == [0, 1, 2]
    (folder.path / "openings.jsonl").write_text('{\n"x"\n{"by": 4}\n')
    assert [o["by"] for o in folder.read_openings()] == ["unknown", "unknown", 4]
    with pytest.raises(UserError, match="cannot be written"):
        folder.append_line("no/such/folder", "x")


@pytest.mark.parametrize("test", [3, [], {"best": 3}])
def test_metrics_of_another_shape_are_damaged(tmp_path, test):
    folder = create(tmp_path / "run")
    folder.write_json("metrics.json", {"test": test})
    with pytest.raises(UserError, match="damaged"):
        folder.read_metrics()
