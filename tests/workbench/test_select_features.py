"""A head on some features becomes a run that does all that a run does."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import reslab
from reslab.cli.main import run as reslab_command
from reslab.errors import UserError
from reslab.workbench.evaluate import evaluate_run
from reslab.workbench.select_features import select_features


@pytest.fixture(scope="module")
def made(
    trained: reslab.Run,
    tiny_source: reslab.ArraySource,
    tmp_path_factory: pytest.TempPathFactory,
) -> reslab.Run:
    folder = tmp_path_factory.mktemp("runs")
    own = reslab.load_run(shutil.copytree(trained.path, folder / "own"))
    return select_features(own, folder / "half", data=tiny_source)


def test_only_the_head_differs(made: reslab.Run, trained: reslab.Run) -> None:
    mine, theirs = (run.model().state_dict() for run in (made, trained))
    odd = {name for name in theirs if not torch.equal(mine[name], theirs[name])}
    assert odd == {"fc.weight", "fc.bias"}
    found = made.folder.read_json("features.json")
    used = mine["fc.weight"].any(dim=0).nonzero().flatten().tolist()
    assert (len(used), found["of"]) == (32, 64)
    assert used == found["chosen"]


def test_it_is_a_run_like_any_other(
    made: reslab.Run, tiny_source: reslab.ArraySource, tmp_path: Path
) -> None:
    assert made.status == "finished"
    assert [o["by"] for o in made.folder.read_openings()] == ["train", "select-features"]
    moved = reslab.load_run(shutil.copytree(made.path, tmp_path / "moved"))
    again = evaluate_run(moved, split="val", source=tiny_source)
    expected = made.folder.read_json("features.json")["val_accuracy"]["chosen"]
    assert again.scored[0].metrics.top1 == pytest.approx(expected)
    pixels = tiny_source.load_test().pixels_NCHW
    assert moved.predict(pixels[:, 0]).shape == (len(pixels), 3)
    page = (made.path / "report.html").read_text()
    assert "on 32 of 64 pooled features" in page


def test_embeddings_are_what_the_head_sees(
    trained: reslab.Run, tiny_source: reslab.ArraySource
) -> None:
    pixels = tiny_source.load_test().pixels_NCHW
    features_ND = trained.embeddings(pixels)
    head = trained.model().fc
    expected = features_ND @ head.weight.detach().numpy().T + head.bias.detach().numpy()
    np.testing.assert_allclose(trained.logits(pixels), expected, rtol=1e-4, atol=1e-5)


def test_mistakes_leave_nothing_behind(
    trained: reslab.Run, tiny_source: reslab.ArraySource, tmp_path: Path
) -> None:
    images = tiny_source.load_train()
    other = reslab.ArraySource(
        images.pixels_NCHW[:, 0] ^ 1, images.labels_N, classes=("dark", "grey", "bright")
    )
    with pytest.raises(UserError, match="are not those"):
        select_features(trained, tmp_path / "run", data=other)
    with pytest.raises(UserError, match="cannot be kept"):
        select_features(trained, tmp_path / "run", keep=65, data=tiny_source)
    with pytest.raises(UserError, match="is not empty"):
        select_features(trained, trained.path, data=tiny_source)
    assert list(tmp_path.iterdir()) == []


def test_choosing_among_such_runs_leaves_a_trace(
    trained: reslab.Run, tiny_source: reslab.ArraySource, tmp_path: Path
) -> None:
    own = reslab.load_run(shutil.copytree(trained.path, tmp_path / "own"))
    for keep in (8, 16):
        select_features(own, tmp_path / str(keep), keep=keep, data=tiny_source)
    assert [o["by"] for o in own.folder.read_openings()] == ["train", *["select-features"] * 2]
    assert "opened 3 times" in (tmp_path / "16" / "report.html").read_text()


def test_one_that_is_cut_short_leaves_no_run(
    trained: reslab.Run,
    tiny_source: reslab.ArraySource,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    own = reslab.load_run(shutil.copytree(trained.path, tmp_path / "own"))
    monkeypatch.setattr("reslab.workbench.select_features.draw_run", interrupt)
    with pytest.raises(KeyboardInterrupt):
        select_features(own, tmp_path / "half", data=tiny_source)
    assert [path.name for path in tmp_path.iterdir()] == ["own"]


def test_without_validation_the_penalty_is_as_usual(
    tiny_source: reslab.ArraySource, tmp_path: Path
) -> None:
    spec = reslab.recipe(training={"epochs": 1, "batch_size": 20}, data={"validation": 0})
    run = reslab.train(spec, data=tiny_source, out=tmp_path / "run")
    found = select_features(run, tmp_path / "half", data=tiny_source, keep=8, method="model")
    told = found.folder.read_json("features.json")
    assert (told["val_accuracy"], told["strength"], told["kept"]) == (None, 1.0, 8)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = ("--set", "data.limit=100", "--epochs", "1", "--out", str(tmp_path / "run"))
    assert reslab_command(["train", *short]) == 0
    out = str(tmp_path / "half")
    select = ["select-features", str(tmp_path / "run")]
    assert reslab_command([*select, "--keep", "16", "--method", "l1", "--out", out]) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[-1] == out
    assert "linear head, 16 features" in captured.out
    assert "choosing 16 of 64 features" in captured.err
    assert reslab_command(["evaluate", out]) == 0
    capsys.readouterr()
    for arguments, told in (
        (["--keep", "many", "--out", "x"], "a fraction such as 0.5"),
        (["--out", out], "is not empty"),
    ):
        assert reslab_command([*select, *arguments]) == 2
        assert told in capsys.readouterr().err
