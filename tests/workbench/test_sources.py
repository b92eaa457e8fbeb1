"""Folders of pictures through training, evaluation and prediction."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import reslab
from reslab.catalog.data_names import name_and_root
from reslab.data.pictures.folder import FileSettings, FolderSource, open_folder
from reslab.data.pictures.path_lists import read_paths
from reslab.errors import UserError
from reslab.spec.data import DataSpec
from reslab.training.observers import NullObserver
from reslab.workbench.evaluate import evaluate_run
from reslab.workbench.resolve import resolve
from reslab.workbench.select_features import select_features
from reslab.workbench.sources import (
    other_source,
    source_again,
    source_of,
    tell_faults,
    tell_not_excluded,
    tell_passed_over,
)

# A picture that is for training and cannot be decoded.
TORN = "bright/03.png"


def shade(root: Path, count: int = 30) -> Path:
    """Dark and bright pictures of odd sizes, each class in its folder."""
    rng = np.random.default_rng(0)
    for label, level in (("bright", 200), ("dark", 60)):
        (root / label).mkdir(parents=True)
        for number in range(count):
            shape = (*rng.integers(16, 24, 2), 3)
            pixels = (level + rng.integers(-40, 40, shape)).astype(np.uint8)
            Image.fromarray(pixels).save(root / label / f"{number:02}.png")
    return root


@pytest.fixture(scope="module")
def shades(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = shade(tmp_path_factory.mktemp("data") / "shades")
    pool, _ = open_folder(root, FileSettings(test=0.2)).parts
    assert TORN in {file.path for file in pool}
    (root / TORN).write_bytes(b"torn")
    return root


@pytest.fixture(scope="module")
def run(shades: Path, tmp_path_factory: pytest.TempPathFactory) -> reslab.Run:
    name, root = name_and_root(str(shades))
    spec = reslab.recipe(
        data={"name": name, "root": root, "fit": "pad", "image_size": 16, "test": 0.2},
        training={"epochs": 4, "batch_size": 8},
    )
    return reslab.train(spec, out=tmp_path_factory.mktemp("runs") / "run")


def test_a_folder_is_trained_on_and_tested(run: reslab.Run) -> None:
    assert run.classes == ("bright", "dark")
    assert run.spec.data.name == "folder:shades"
    assert run.metrics["test"]["best"]["n"] == 12
    assert run.metrics["test"]["best"]["top1"] > 0.9


def test_what_was_left_out_is_named_in_the_run(run: reslab.Run) -> None:
    told = run.folder.read_text("left_out.txt")
    assert told.startswith("# ") and "is not an image" in told
    assert read_paths(run.folder.path / "left_out.txt") == (TORN,)
    assert "1 picture is left out" in run.folder.read_text("log.txt")


def test_prediction_sees_what_training_saw(run: reslab.Run, shades: Path) -> None:
    source = source_again(run)
    images = source.load_train()
    files = [file.path for file in source.parts[0] if file.path != TORN]
    decoded_NCHW = np.stack([run.decode(shades / path) for path in files])
    np.testing.assert_array_equal(images.pixels_NCHW[:], decoded_NCHW)
    probabilities_NK = run.predict([shades / path for path in files])
    assert (probabilities_NK.argmax(axis=1) == images.labels_N).mean() > 0.9


def test_evaluation_repeats_the_split(run: reslab.Run) -> None:
    result = evaluate_run(run)
    assert result.scored[0].metrics.to_json() == run.metrics["test"]["best"]
    val = evaluate_run(run, split="val")
    assert val.scored[0].metrics.n == run.spec.facts.val_images


def test_another_folder_is_scored_whole(run: reslab.Run, tmp_path: Path) -> None:
    other = shade(tmp_path / "others", 5)
    shutil.rmtree(other / "dark")
    result = evaluate_run(run, source=other_source(run.spec, str(other), None))
    assert result.scored[0].metrics.n == 5
    assert result.warnings == ()


def test_a_folder_that_moved_is_found_by_root(
    run: reslab.Run, shades: Path, tmp_path: Path
) -> None:
    moved = shutil.copytree(shades, tmp_path / "moved")
    result = evaluate_run(run, root=str(moved))
    assert result.scored[0].metrics.to_json() == run.metrics["test"]["best"]


def test_a_folder_that_is_gone_is_asked_for_by_root(run: reslab.Run, shades: Path) -> None:
    away = shades.with_name("away")
    shades.rename(away)
    try:
        told = rf"no folder or manifest {shades}, which .*run was trained on; .* with --root$"
        with pytest.raises(UserError, match=told):
            source_again(run)
        with pytest.raises(UserError, match="there is no folder or manifest none; check the path"):
            source_again(run, root="none")
    finally:
        away.rename(shades)


def test_the_test_that_was_drawn_stays_the_run_s_own(
    run: reslab.Run, shades: Path, tmp_path: Path
) -> None:
    tested = read_paths(run.folder.path / "tested.txt")
    assert len(tested) == 12
    grown = shutil.copytree(shades, tmp_path / "shades")
    for number in range(20):
        shutil.copy(grown / "dark/00.png", grown / f"dark/0{number}-more.png")
    result = evaluate_run(run, root=str(grown))
    assert result.scored[0].metrics.to_json() == run.metrics["test"]["best"]
    assert result.warnings == ()
    for path in tested[:2]:
        (grown / path).unlink()
    result = evaluate_run(run, root=str(grown))
    assert result.scored[0].metrics.n == 10
    assert result.warnings == ("2 of the 12 test images of the run are gone",)
    for path in tested[2:]:
        (grown / path).unlink()
    with pytest.raises(UserError, match=r"none of the pictures that were drawn.* expected 12 such"):
        evaluate_run(run, root=str(grown))


def test_tested_pictures_that_are_others_now_are_told(
    run: reslab.Run, shades: Path, tmp_path: Path
) -> None:
    tested = read_paths(run.folder.path / "tested.txt")
    mixed = shutil.copytree(shades, tmp_path / "shades")
    taught = next(
        path
        for path in sorted(mixed.rglob("*.png"))
        if path.relative_to(mixed).as_posix() not in {*tested, TORN}
    )
    shutil.copy(taught, mixed / tested[0])
    assert evaluate_run(run, root=str(mixed)).warnings == (
        "1 of the 12 test images of the run are others now, and may have been trained on",
    )


def test_a_tested_picture_that_cannot_be_decoded_is_told_by_training(tmp_path: Path) -> None:
    class Watch(NullObserver):
        told: tuple[str, ...] = ()

        def on_warning(self, text: str) -> None:
            self.told += (text,)

    root = shade(tmp_path / "data", 10)
    torn = open_folder(root, FileSettings(test=0.2)).drawn[0]
    (root / torn).write_bytes(b"torn")
    name, place = name_and_root(str(root))
    spec = reslab.recipe(
        data={"name": name, "root": place, "image_size": 16, "test": 0.2}, training={"epochs": 1}
    )
    watch = Watch()
    own = reslab.train(spec, out=tmp_path / "run", observers=[watch])
    assert any(f"cannot be decoded: {torn}" in text for text in watch.told)
    assert read_paths(own.folder.path / "left_out.txt") == (torn,)


def test_a_test_of_its_own_that_is_gone_is_not_drawn_anew(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for split, count in (("train", 8), ("test", 4)):
        shade(root / split, count)
    name, place = name_and_root(str(root))
    spec = reslab.recipe(
        data={"name": name, "root": place, "image_size": 16}, training={"epochs": 1}
    )
    own = reslab.train(spec, out=tmp_path / "run")
    assert own.spec.data.test == 0.0
    shutil.rmtree(root / "test")
    with pytest.raises(UserError, match="has no test images"):
        evaluate_run(own)


def test_a_head_on_some_features_is_tested_on_the_same_pictures(
    run: reslab.Run, tmp_path: Path
) -> None:
    made = select_features(run, tmp_path / "made", keep=8)
    for name in ("tested.txt", "left_out.txt"):
        assert made.folder.read_text(name) == run.folder.read_text(name)


def test_a_test_that_is_drawn_anew_is_doubted(
    run: reslab.Run, shades: Path, tmp_path: Path
) -> None:
    older = reslab.load_run(shutil.copytree(run.path, tmp_path / "run"))
    (older.path / "tested.txt").unlink()
    assert evaluate_run(older).warnings == ()
    grown = shutil.copytree(shades, tmp_path / "shades")
    shutil.copy(grown / "dark/00.png", grown / "dark/zz.png")
    (told,) = evaluate_run(older, root=str(grown)).warnings
    assert "some of these images may have been trained on" in told


def test_what_is_for_training_is_not_scored(run: reslab.Run, tmp_path: Path) -> None:
    other = tmp_path / "others"
    for split, count in (("train", 4), ("val", 3), ("test", 2)):
        shade(other / split, count)
    for scored, n in (("test", 4), ("val", 6)):
        source = other_source(run.spec, str(other), None)
        assert isinstance(source, FolderSource) and source.scored == scored
        assert evaluate_run(run, source=source).scored[0].metrics.n == n
        shutil.rmtree(other / scored)
    with pytest.raises(UserError, match=r"has no test images.*name the folder of those"):
        evaluate_run(run, source=other_source(run.spec, str(other), None))
    whole = other_source(run.spec, str(other / "train"), None)
    assert evaluate_run(run, source=whole).scored[0].metrics.n == 8


def test_groups_of_a_folder_are_those_of_a_manifest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data.group_by has no meaning for folder:x: .*manifest"):
        source_of(DataSpec(name="folder:x", root=str(tmp_path), group_by="groups.txt"))


def test_without_training_images_nothing_is_trained(tmp_path: Path) -> None:
    lines = ["path,label,split"]
    for path in sorted(shade(tmp_path / "shades", 4).rglob("*.png")):
        lines.append(f"{path.relative_to(tmp_path)},{path.parent.name},val")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    name, place = name_and_root(str(tmp_path / "list.csv"))
    with pytest.raises(UserError, match="there are no images to train on in"):
        reslab.train(reslab.recipe(data={"name": name, "root": place}), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_list_of_what_is_left_out_is_kept_in_the_run(tmp_path: Path) -> None:
    root = shade(tmp_path / "shades", 12)
    fix = tmp_path / "fix.txt"
    fix.write_text("# blank\ndark/00.png\n")
    name, place = name_and_root(str(root))
    spec = reslab.recipe(
        data={"name": name, "root": place, "exclude": str(fix), "image_size": 16},
        training={"epochs": 1, "batch_size": 8},
    )
    run = reslab.train(spec, out=tmp_path / "run")
    fix.unlink()
    assert run.folder.read_text("excluded.txt") == "dark/00.png\n"
    files = {file.path for part in source_again(run).parts for file in part}
    assert len(files) == 23 and "dark/00.png" not in files
    assert evaluate_run(run).scored[0].metrics.to_json() == run.metrics["test"]["best"]


def test_names_are_read_as_folders_where_they_are_such(tmp_path: Path) -> None:
    (tmp_path / "My pets").mkdir()
    place = str(tmp_path / "My pets")
    assert name_and_root(place) == ("folder:My-pets", place)
    assert name_and_root("digits", "x") == ("digits", "x")
    assert name_and_root("unheard") == ("unheard", None)
    with pytest.raises(UserError, match="--root x as well; leave --root out"):
        name_and_root(place, "x")


def test_exclusions_that_fit_nothing_are_told_before_training(tmp_path: Path) -> None:
    root = shade(tmp_path / "shades", 6)
    fix = tmp_path / "fix.txt"
    fix.write_text("dark/00.png\n")
    name, place = name_and_root(str(root))
    data = DataSpec(name=name, root=place, exclude=str(fix))
    assert tell_not_excluded(source_of(data)) == ()
    fix.write_text("dark/00.png\ndrak/01.png\n")
    (told,) = tell_not_excluded(source_of(data))
    assert told == f"1 path to be excluded fits no picture of {root}: drak/01.png"
    assert told in resolve(reslab.recipe(data=data.model_dump(mode="json"))).warnings
    fix.write_text("drak/01.png\n")
    with pytest.raises(UserError, match="no file to be excluded is in"):
        source_of(data)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("image_size", 32), ("test", 0.3), ("exclude", "list.txt"), ("cache_size", 5)],
)
def test_settings_of_folders_have_no_meaning_elsewhere(setting: str, value: object) -> None:
    with pytest.raises(UserError, match=f"data.{setting} has no meaning for digits"):
        source_of(DataSpec(**{setting: value}))


def test_faults_are_told_briefly() -> None:
    faults = {f"{n}.png": "torn" for n in range(5)}

    class Some:
        def __init__(self, faults):
            self.faults = faults

    assert tell_faults(Some({})) == ()
    (told,) = tell_faults(Some(faults))
    assert told.startswith("5 pictures are left out") and "0.png, 1.png, 2.png and 2 more" in told


def test_what_was_passed_over_is_told_before_training(tmp_path: Path) -> None:
    root = shade(tmp_path / "shades", 6)
    source = open_folder(root)
    assert tell_passed_over(source) == ()
    (root / "readme.md").touch()
    (root / "bright/notes.txt").touch()
    assert tell_passed_over(open_folder(root)) == ()
    for number in range(5):
        shutil.copy(root / "dark/00.png", root / f"{number}\n.png")
    (root / "none").mkdir()
    (told,) = tell_passed_over(open_folder(root))
    assert told == (
        '6 files and folders are passed over: outside of the classes ("0\\n.png", "1\\n.png", '
        '"2\\n.png" and 2 more), without pictures (none/); `reslab data check` tells of each'
    )
    name, place = name_and_root(str(root))
    assert told in resolve(reslab.recipe(data={"name": name, "root": place})).warnings


def test_classes_without_training_pictures_are_told_before_training(tmp_path: Path) -> None:
    root = shade(tmp_path / "shades", 4)
    shade(root / "train", 4)
    for label in ("bright", "dark"):
        shutil.move(root / label, root / "test" / label)
    shutil.copytree(root / "test/dark", root / "test/black")
    for path in (root / "train/dark").iterdir():
        path.write_bytes(b"torn")
    name, place = name_and_root(str(root))
    warnings = resolve(
        reslab.recipe(data={"name": name, "root": place, "validation": 0, "image_size": 16})
    ).warnings
    assert any("2 classes have no training images" in text for text in warnings)
    assert any("black, dark" in text for text in warnings)
