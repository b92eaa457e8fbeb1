"""Folds trained, scored, resumed and summarised; the test split opened once."""

from __future__ import annotations

import json
import shutil
import signal
import statistics
from pathlib import Path

import numpy as np
import pytest

import reslab
from reslab.data.source import Images
from reslab.errors import Interrupted, UserError
from reslab.spec.run import RunSpec
from reslab.training.observers import NullObserver, StepRecord
from reslab.workbench import decide as decide_module
from reslab.workbench.cross_validate import cross_validate, resume_folds
from reslab.workbench.folds import CrossValidation, open_folds
from reslab.workbench.resolve import load_published, split_again


def asked(**training: object) -> RunSpec:
    return reslab.recipe(
        data={"folds": 3},
        training={
            "epochs": 2,
            "batch_size": 8,
            "ema": 0.9,
            "mixup": 0.4,
            "patience": 1,
            **training,
        },
    )


@pytest.fixture(scope="module")
def whole(
    tiny_source: reslab.ArraySource, tmp_path_factory: pytest.TempPathFactory
) -> CrossValidation:
    out = tmp_path_factory.mktemp("folds") / "whole"
    return cross_validate(asked(), data=tiny_source, out=out)


def test_the_folder_holds_a_run_for_each_fold_and_a_final_one(whole: CrossValidation) -> None:
    names = sorted(path.name for path in whole.path.iterdir())
    assert names == ["final", "fold-1", "fold-2", "fold-3", "folds.yaml", "summary.json"]
    assert [run.status for run in (*whole.folds, whole.final)] == ["finished"] * 4


def test_each_image_is_held_out_once_and_validation_is_of_the_others(
    whole: CrossValidation, tiny_source: reslab.ArraySource
) -> None:
    held_out: list[int] = []
    for run in whole.folds:
        published = load_published(tiny_source, run.spec.data)
        parts = split_again(run.spec, published)
        assert run.metrics["fold"]["best"]["n"] == len(parts.held_out)
        assert run.spec.facts.val_images == len(parts.validation) > 0
        held_out += parts.held_out.tolist()
    assert sorted(held_out) == list(range(120))


def test_the_test_split_is_opened_once_by_the_final_net(
    tiny_source: reslab.ArraySource, tmp_path: Path
) -> None:
    opened = []

    class Watched:
        card = tiny_source.card
        load_train = staticmethod(tiny_source.load_train)

        def load_test(self) -> Images:
            opened.append(sorted(path.name for path in tmp_path.iterdir()))
            return tiny_source.load_test()

    found = cross_validate(asked(epochs=1), data=Watched(), out=tmp_path)
    assert opened == [["final", "fold-1", "fold-2", "fold-3", "folds.yaml"]]
    assert [run.folder.read_openings() for run in found.folds] == [[], [], []]
    assert len(found.final.folder.read_openings()) == 1


def test_the_summary_is_of_the_folds(whole: CrossValidation) -> None:
    summary = whole.summary
    scores = [run.metrics["fold"]["best"]["top1"] for run in whole.folds]
    assert [score["top1"] for score in summary["scores"]] == scores
    assert summary["top1_mean"] == pytest.approx(statistics.fmean(scores))
    assert summary["top1_sd"] == pytest.approx(statistics.stdev(scores))
    assert summary["final"]["test"] == whole.final.metrics["test"]
    assert sum(score["n"] for score in summary["scores"]) == 120


def test_a_fold_says_what_it_is(whole: CrossValidation) -> None:
    page = (whole.folds[1].path / "report.html").read_text()
    assert "fold 2 of 3 of a cross-validation" in page
    assert "Held-out accuracy" in page
    assert "was not tested" not in page


def test_an_interrupted_one_goes_on_and_comes_to_the_same(
    whole: CrossValidation, tiny_source: reslab.ArraySource, tmp_path: Path
) -> None:
    class Presses(NullObserver):
        """In the second fold, in the middle of an epoch."""

        runs = 0

        def on_step(self, record: StepRecord) -> None:
            self.runs += record.step == 1
            if self.runs == 2 and record.step == 10:
                signal.raise_signal(signal.SIGINT)

    out = tmp_path / "my folds"
    with pytest.raises(Interrupted) as caught:
        cross_validate(asked(), data=tiny_source, out=out, observers=[Presses()])
    assert f"in fold-2; go on with `reslab train --resume '{out}'`" in str(caught.value)
    with pytest.raises(UserError, match="has not ended"):
        _ = open_folds(out).summary
    first = (out / "fold-1" / "metrics.json").stat().st_mtime_ns
    lines: list[str] = []
    found = resume_folds(out, data=tiny_source, tell=lines.append)
    assert (out / "fold-1" / "metrics.json").stat().st_mtime_ns == first
    assert lines == ["fold 1 of 3", "fold 2 of 3", "fold 3 of 3", "the final net, on all folds"]
    for name in ("fold-1", "fold-2", "fold-3", "final"):
        for use in ("best", "last"):
            mine, other = (f.path / name / "weights" / f"{use}.safetensors" for f in (found, whole))
            assert mine.read_bytes() == other.read_bytes(), (name, use)
    assert [s["top1"] for s in found.summary["scores"]] == [
        s["top1"] for s in whole.summary["scores"]
    ]


def test_a_fold_that_was_killed_before_it_began_is_trained(
    whole: CrossValidation, tiny_source: reslab.ArraySource, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(whole.path, tmp_path / "run"))
    shutil.rmtree(out / "fold-3")
    (out / "fold-3").mkdir()
    (out / "summary.json").unlink()
    found = resume_folds(out, data=tiny_source)
    assert [s["top1"] for s in found.summary["scores"]] == [
        s["top1"] for s in whole.summary["scores"]
    ]


def test_groups_are_never_divided(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 2
    groups = rng.permutation(np.arange(120) % 12)
    images = (60 + 90 * labels[:, None, None] + rng.integers(-30, 30, (120, 8, 8))).astype(np.uint8)
    source = reslab.ArraySource(images, labels, train_groups=groups)
    found = cross_validate(asked(epochs=1), data=source, out=tmp_path / "run")
    seen: list[int] = []
    for run in found.folds:
        parts = split_again(run.spec, load_published(source, run.spec.data))
        three = [set(groups[p].tolist()) for p in (parts.train, parts.validation, parts.held_out)]
        assert not (three[0] & three[1] or three[0] & three[2] or three[1] & three[2])
        seen += three[2]
    assert sorted(seen) == list(range(12))
    assert found.summary["final"]["test"] is None


def test_a_limit_of_time_is_shared_out(tiny_source: reslab.ArraySource, tmp_path: Path) -> None:
    found = cross_validate(
        asked(epochs=1, time_limit=120.0), data=tiny_source, out=tmp_path / "run"
    )
    limits = [run.spec.training.time_limit for run in (*found.folds, found.final)]
    assert len(set(limits)) == 1
    # Less what it took to begin.
    assert 20.0 < (limits[0] or 0.0) < 30.0


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({}, "cross-validation needs data.folds"),
        ({"folds": 3, "fold": 1}, "takes each fold in turn"),
        ({"folds": 50}, "at most 40 parts"),
    ],
)
def test_what_cannot_be_is_told_and_nothing_written(
    tiny_source: reslab.ArraySource, tmp_path: Path, data: dict[str, int], told: str
) -> None:
    with pytest.raises(UserError, match=told):
        cross_validate(reslab.recipe(data=data), data=tiny_source, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_single_training_of_folds_is_refused(
    tiny_source: reslab.ArraySource, tmp_path: Path
) -> None:
    for data, told in (
        ({"folds": 3}, "expected data.fold from 1 to 3"),
        ({"fold": 2}, "no meaning without data.folds"),
        ({"folds": 3, "fold": 4}, "expected 1 to 3, received 4"),
    ):
        with pytest.raises(UserError, match=told):
            reslab.train(reslab.recipe(data=data), data=tiny_source, out=tmp_path / "run")


def test_it_does_not_go_on_with_other_images(
    whole: CrossValidation, tiny_source: reslab.ArraySource, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(whole.path, tmp_path / "run"))
    shutil.rmtree(out / "fold-3")
    with pytest.raises(UserError, match="a data set of one's own, tiny"):
        resume_folds(out)
    images = tiny_source.load_train()
    other = reslab.ArraySource(
        images.pixels_NCHW[:, 0] ^ 1, images.labels_N, classes=("dark", "grey", "bright")
    )
    with pytest.raises(UserError, match=r"are not those that .* was begun with"):
        resume_folds(out, data=other)
    assert not (out / "fold-3").exists()


def test_files_that_were_moved_are_found_by_root(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = (np.arange(80) % 10).astype(np.uint8)
    pixels = (20 * labels[:, None, None] + rng.integers(0, 40, (80, 28, 28))).astype(np.uint8)
    there, raw = tmp_path / "there", tmp_path / "there" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part in ("train", "t10k"):
        head = np.array([2051, 80, 28, 28], ">i4").tobytes()
        (raw / f"{part}-images-idx3-ubyte").write_bytes(head + pixels.tobytes())
        head = np.array([2049, 80], ">i4").tobytes()
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(head + labels.tobytes())
    spec = reslab.recipe(
        data={"name": "mnist", "root": str(there), "folds": 2, "validation": 10},
        training={"epochs": 1, "batch_size": 10},
    )
    out = tmp_path / "run"
    cross_validate(spec, out=out)
    shutil.rmtree(out / "fold-2")
    (out / "summary.json").unlink()
    there.rename(tmp_path / "moved")
    with pytest.raises(UserError):
        resume_folds(out)
    found = resume_folds(out, root=str(tmp_path / "moved"))
    assert [score["n"] for score in found.summary["scores"]] == [40, 40]


def test_what_the_engine_decides_is_decided_once(
    tiny_source: reslab.ArraySource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide, calls = decide_module.choose_micro_batches, []

    def count(*arguments: object, **options: object) -> object:
        calls.append(arguments[0])
        return decide(*arguments, **options)

    monkeypatch.setattr("reslab.workbench.decide.choose_micro_batches", count)
    cross_validate(asked(epochs=1), data=tiny_source, out=tmp_path / "run")
    assert calls == ["auto"] * 4 + [1] * 4


def test_ctrl_c_between_folds_tells_the_way_on(
    tiny_source: reslab.ArraySource, tmp_path: Path
) -> None:
    def press(text: str) -> None:
        if text == "fold 2 of 3":
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted, match="in fold-2; go on with"):
        cross_validate(asked(epochs=1), data=tiny_source, out=tmp_path / "run", tell=press)


def test_a_share_of_time_that_is_too_short_is_told_before_anything_is_written(
    tiny_source: reslab.ArraySource, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="each of 4 trainings has an equal share"):
        cross_validate(asked(time_limit=4.0), data=tiny_source, out=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_summary_is_told(whole: CrossValidation, tmp_path: Path) -> None:
    out = Path(shutil.copytree(whole.path, tmp_path / "run"))
    for content in ("{", "[]", json.dumps({"scores": [{}]})):
        (out / "summary.json").write_text(content)
        with pytest.raises(UserError, match="is damaged"):
            _ = open_folds(out).summary
