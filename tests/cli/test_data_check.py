"""``reslab data check`` from the command line."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from reslab.cli.main import run
from reslab.data.pictures.path_lists import read_paths
from tests.data.checks.messy import Messy, build
from tests.workbench.test_sources import shade


@pytest.fixture(scope="module")
def messy(tmp_path_factory: pytest.TempPathFactory) -> Messy:
    return build(tmp_path_factory.mktemp("messy"))


def test_errors_end_with_2_and_json_holds_all(
    messy: Messy, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["data", "check", str(messy.root), "--json"]) == 2
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    kinds = {finding["kind"]: finding for finding in document["findings"]}
    assert kinds.keys() == {kind for kind, files in messy.expected.items() if files}
    assert kinds["leak"]["severity"] == "error" and kinds["leak"]["remedy"]
    assert set(kinds["undecodable"]["files"]) == messy.expected["undecodable"]
    assert "has errors: received" in captured.err


def test_the_table_names_some_and_the_list_all(
    messy: Messy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "fix.txt"
    assert run(["data", "check", str(messy.root), "--fix-list", str(path)]) == 2
    out = capsys.readouterr().out
    assert "error: pictures that are cut short or damaged: 4 (undecodable)" in out
    assert "train: " in out and " pictures of " in out
    named = {line for line in path.read_text().splitlines() if not line.startswith("#")}
    assert messy.expected["undecodable"] <= named
    # One of each set of equal pictures stays, of those in two splits that in the test.
    assert len(named & messy.expected["duplicate"]) == 1
    assert named & messy.expected["leak"] == {"train/church/leaked.png"}
    assert not named & messy.good


def test_the_worst_comes_first(messy: Messy, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "check", str(messy.root)]) == 2
    words = [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()]
    told = [word for word in words if word in ("error", "warning", "note")]
    assert told == sorted(told, key=("error", "warning", "note").index) and len(set(told)) == 3


def test_the_remedy_is_the_list_where_it_settles_something(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, fix = shade(tmp_path / "shades"), tmp_path / "fix.txt"
    shutil.copy(root / "dark/00.png", root / "bright/zz.png")
    command = ["data", "check", str(root), "--fix-list", str(fix)]
    assert run(command) == 2
    told = capsys.readouterr()
    assert f"{fix} names none, since nothing is settled" in told.out
    assert told.err.endswith("has errors: received conflict; mend them\n")
    (root / "dark/01.png").write_bytes(b"")
    assert run(command) == 2
    assert (
        f"mend them; of empty it is enough to train without what {fix}" in capsys.readouterr().err
    )
    (root / "bright/zz.png").unlink()
    assert run([*command, "--background", "white"]) == 2
    told = capsys.readouterr()
    assert f"--data {root} --exclude {fix} --set data.background=white\n" in told.out
    assert told.err.endswith(f"mend them, or train without what {fix} names\n")
    assert run(command[:3]) == 2
    assert capsys.readouterr().err.endswith("or train without what --fix-list names\n")


def test_exclusions_that_fit_nothing_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = shade(tmp_path / "shades")
    (tmp_path / "fix.txt").write_text("dark/00.png\nno/1.png\nno/2.png\n")
    assert run(["data", "check", str(root), "--exclude", str(tmp_path / "fix.txt")]) == 0
    assert f"warning: 2 paths to be excluded fit no picture of {root}: no/1.png, no/2.png\n" in (
        capsys.readouterr().err
    )


def test_a_clean_folder_has_nothing_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["data", "check", str(shade(tmp_path / "shades"))]) == 0
    assert "60 pictures of 2 classes\nnothing is wrong with them" in capsys.readouterr().out


def test_what_the_list_names_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = shade(tmp_path / "shades")
    (root / "dark/00.png").write_bytes(b"torn")
    fix = str(tmp_path / "fix.txt")
    assert run(["data", "check", str(root), "--fix-list", fix]) == 2
    assert run(["data", "check", str(root), "--exclude", fix]) == 0
    capsys.readouterr()
    command = ["train", "--data", str(root), "--exclude", fix, "--epochs", "1"]
    assert run([*command, "--batch-size", "8", "--out", str(tmp_path / "run"), "--json"]) == 0
    assert not (tmp_path / "run/left_out.txt").exists()


def test_names_of_any_kind_are_told_listed_and_left_out(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    root = shade(tmp_path / "shades", 12)
    (root / "dark").rename(root / "#dark")
    names = (b"caf\xe9.png", b"new\nline.png", b'"quoted".png', b"u\xe2\x80\xa8.png")
    for name in names:
        Path(os.fsdecode(os.fsencode(root / "#dark") + b"/" + name)).write_bytes(b"torn")
    fix, out = tmp_path / "fix.txt", tmp_path / "run"
    assert run(["data", "check", str(root), "--fix-list", str(fix)]) == 2
    assert b'"#dark/caf\\udce9.png"' in capfdbinary.readouterr().out
    assert read_paths(fix) == tuple(sorted("#dark/" + os.fsdecode(name) for name in names))
    command = ["train", "--data", str(root), "--epochs", "1", "--batch-size", "8"]
    assert run([*command, "--out", str(out)]) == 0
    assert read_paths(out / "left_out.txt") == read_paths(fix)
    assert run(["data", "check", str(root), "--exclude", str(out / "left_out.txt")]) == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["none"], "there is no folder or manifest none"),
        (["~no-such-user"], "received ~ with no such user"),
        ([".", "--fix-list", "no/where.txt"], "there is no folder"),
        ([".", "--exclude", "none.txt"], "the list none.txt cannot be read"),
    ],
)
def test_mistakes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["data", "check", *arguments]) == 2
    assert told in capsys.readouterr().err
