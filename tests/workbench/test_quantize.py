"""Quantising a run: what is read, what is kept, what is refused, and the gate."""

from __future__ import annotations

import json
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

import reslab
from reslab.data.split import sample_evenly
from reslab.errors import ReslabError, TrainingDiverged, UserError
from reslab.inference.nncf import WAYS
from reslab.models.weights import weights_to_bytes
from reslab.runs.files import locked
from reslab.spec.resolved import ResolvedEvaluation
from reslab.workbench import quantize as workbench
from reslab.workbench.evaluate import evaluate_run
from reslab.workbench.quantize import quantize_run, time_engines
from reslab.workbench.quantized import NUMBERS, RECORD, XML
from reslab.workbench.reporting import draw_run
from reslab.workbench.resume import prepare_again
from tests.contract.complaints import snapshot
from tests.workbench.test_calibrate import Closed, spoil_classifier

pytestmark = pytest.mark.skipif(find_spec("nncf") is None, reason="nncf is not installed")


@pytest.fixture(scope="module")
def made(tiny_source: reslab.ArraySource, tmp_path_factory: pytest.TempPathFactory) -> reslab.Run:
    """A run that was quantised once; to be read and not changed."""
    # Long enough for running statistics that fit the weights: int8 is to be near the net's own.
    spec = reslab.recipe("fast", training={"epochs": 6, "batch_size": 10})
    run = reslab.train(spec, data=tiny_source, out=tmp_path_factory.mktemp("runs") / "quantised")
    before = snapshot(run.path)
    found = quantize_run(run, images=12, tolerance=1.0, data=Closed(tiny_source))
    after = snapshot(run.path)
    assert found.passed
    assert after.keys() - before.keys() == {"int8", XML, NUMBERS, RECORD}
    # The page tells of it, and is all that changes.
    assert {name for name in before if after[name] != before[name]} == {"report.html"}
    return run


@pytest.fixture
def own(trained: reslab.Run, tmp_path: Path) -> reslab.Run:
    return reslab.load_run(shutil.copytree(trained.path, tmp_path / "run"))


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Ways that lose one image after the other, the second none more than the first."""
    ways: list[object] = []
    lost = {WAYS[0]: 2, WAYS[1]: 1}

    def quantize(model, pixels_NCHW, normaliser, way):
        ways.append((way, pixels_NCHW))
        return b"xml of %d" % lost[way], b"numbers"

    def compute(quantized, pixels_NCHW, normaliser, runtime):
        return logits(int(quantized.xml.split()[-1]), pixels_NCHW)

    monkeypatch.setattr(workbench, "quantize", quantize)
    monkeypatch.setattr(workbench, "compute_int8", compute)
    monkeypatch.setattr(reslab.Run, "logits", lambda self, pixels_NCHW, use: logits(0, pixels_NCHW))
    return ways


def logits(lost: int, pixels_NCHW: np.ndarray) -> np.ndarray:
    """Right but for the first images: the tiny classes differ in brightness."""
    classes = ((pixels_NCHW[:].mean(axis=(1, 2, 3)) - 40) / 80).round().astype(int)
    classes[:lost] = (classes[:lost] + 1) % 3
    return np.eye(3, dtype=np.float32)[classes]


# --- what is found and kept -------------------------------------------------------------------


def test_mirror_images_judge_int8_where_they_judge_the_net(
    own: reslab.Run, planted, tiny_source, monkeypatch
) -> None:
    seen = []
    compute = workbench.compute_int8

    def watched(quantized, pixels_NCHW, normaliser, runtime):
        seen.append(pixels_NCHW[:])
        return compute(quantized, pixels_NCHW, normaliser, runtime)

    monkeypatch.setattr(workbench, "compute_int8", watched)
    flipped = own.spec.model_copy(update={"evaluation": ResolvedEvaluation(flip=True)})
    quantize_run(
        reslab.Run(own.folder, flipped), images=12, tolerance=1.0, data=Closed(tiny_source)
    )
    plain_NCHW, mirrored_NCHW = seen[:2]
    np.testing.assert_array_equal(mirrored_NCHW, plain_NCHW[..., ::-1])


def test_the_page_tells_of_it_while_the_weights_are_the_same(
    made: reslab.Run, tmp_path: Path
) -> None:
    run = reslab.load_run(shutil.copytree(made.path, tmp_path / "run"))
    page = (run.path / "report.html").read_text()
    assert "Int8 model" in page and "of the best weights" in page
    with run.folder.weights("best").open("ab") as file:
        file.write(b"more")
    draw_run(run)
    page = (run.path / "report.html").read_text()
    assert "Int8 model" not in page
    assert "int8 model was made of weights that have changed since" in page


@pytest.mark.parametrize(
    ("name", "said"),
    [(RECORD, "record of its int8 model cannot be read"), (NUMBERS, "int8 model is damaged")],
)
def test_a_model_that_is_damaged_is_noted_and_stops_no_page(
    made: reslab.Run, tmp_path: Path, name: str, said: str
) -> None:
    run = reslab.load_run(shutil.copytree(made.path, tmp_path / "run"))
    (run.path / name).write_text("damaged")
    draw_run(run)
    page = (run.path / "report.html").read_text()
    assert said in page and "Int8 model" not in page


def test_the_figures_are_those_of_the_model_that_is_kept(
    made: reslab.Run, tiny_source: reslab.ArraySource
) -> None:
    found = made.quantization
    assert found is not None
    loss = found.chosen.loss
    fp32, int8 = (
        evaluate_run(made, split="val", source=tiny_source, engine=engine)
        for engine in ("eager", "openvino-int8")
    )
    assert int8.scored[0].engine == "openvino-int8"
    assert (int8.warnings, loss.n) == ((), made.spec.facts.val_images)
    assert loss.top1_fp32 == fp32.scored[0].metrics.top1
    assert loss.top1_int8 == pytest.approx(int8.scored[0].metrics.top1)
    assert loss.nll_int8 == pytest.approx(int8.scored[0].metrics.loss, rel=1e-3)
    classes = [e.scored[0].logits_NK.argmax(axis=1) for e in (fp32, int8)]
    assert loss.changed == (classes[0] != classes[1]).sum()
    assert found.calibration_images == 12
    assert found.versions.keys() == {"reslab", "torch", "nncf", "openvino"}


def test_it_predicts_for_any_number_of_images_wherever_the_run_lies(
    made: reslab.Run, tiny_source: reslab.ArraySource, tmp_path: Path
) -> None:
    moved = reslab.load_run(shutil.copytree(made.path, tmp_path / "elsewhere"))
    pixels = tiny_source.load_test().pixels_NCHW[:, 0]
    whole = moved.predict(pixels, engine="openvino-int8")
    assert np.abs(whole - moved.predict(pixels, engine="eager")).mean() < 0.1
    for n in (1, 7):
        few = moved.predict(pixels[:n], engine="openvino-int8")
        np.testing.assert_allclose(few, whole[:n], atol=1e-4)
    # Nothing in it tells where it was made.
    for name in (XML, RECORD):
        assert str(made.path.parent) not in (moved.path / name).read_text()


def test_rivals_are_timed_on_images_of_the_run(
    made: reslab.Run, tiny_source: reslab.ArraySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def timed(contenders, *, seconds):
        asked.extend(contenders)
        assert all(call().shape == (128, 3) for call in contenders.values())
        return dict.fromkeys(contenders, 0.5)

    monkeypatch.setattr(workbench, "time_in_turns", timed)
    speeds = time_engines(made, data=tiny_source)
    assert {"openvino", "openvino-int8"} <= speeds.keys() <= {"kernels", *asked}
    assert set(speeds.values()) == {256.0}


# --- the gate ---------------------------------------------------------------------------------


def lost(n: int, run: reslab.Run) -> float:
    return n / run.spec.facts.val_images


def test_the_first_way_is_enough_where_it_loses_no_more_than_it_may(
    own: reslab.Run, tiny_source: reslab.ArraySource, planted: list
) -> None:
    found = quantize_run(own, tolerance=lost(2, own), images=15, data=tiny_source)
    assert found.passed and [trial.way for trial in found.tried] == [WAYS[0]]
    assert (own.path / XML).read_bytes() == b"xml of 2"
    # Ranges are of training images, and of no others.
    train = prepare_again(own, tiny_source, None).train
    drawn = sample_evenly(train.labels_N, 15, own.spec.data.split_seed)
    ((_, pixels_NCHW),) = planted
    np.testing.assert_array_equal(pixels_NCHW, train.pixels_NCHW[drawn])


def test_a_finer_way_is_tried_where_the_first_loses_more(
    own: reslab.Run, tiny_source: reslab.ArraySource, planted: list
) -> None:
    told: list[str] = []
    found = quantize_run(own, tolerance=lost(1, own), data=tiny_source, tell=told.append)
    assert [trial.way for trial in found.tried] == list(WAYS)
    assert found.passed and found.chosen.way == WAYS[1]
    assert (own.path / XML).read_bytes() == b"xml of 1"
    assert [str(way) in text for way, text in zip(WAYS, told, strict=True)] == [True, True]
    assert own.quantization == found


def test_where_both_lose_more_the_run_stays_as_it_was(
    own: reslab.Run, tiny_source: reslab.ArraySource, planted: list
) -> None:
    quantize_run(own, tolerance=1.0, data=tiny_source)
    before = snapshot(own.path)
    found = quantize_run(own, tolerance=0.9 * lost(1, own), data=tiny_source)
    assert not found.passed and len(found.tried) == 2
    assert found.chosen.loss.drop == lost(1, own)
    assert snapshot(own.path) == before


def test_one_that_passes_replaces_what_was_there(
    own: reslab.Run, tiny_source: reslab.ArraySource, planted: list
) -> None:
    quantize_run(own, tolerance=1.0, data=tiny_source)
    (own.path / RECORD).write_text("damaged")
    (own.path / "int8" / ".model.bin.1-1.tmp").write_text("left by a kill")
    found = quantize_run(own, tolerance=lost(1, own), data=tiny_source)
    assert own.quantization == found
    assert {p.name for p in (own.path / "int8").iterdir()} == {
        "model.xml",
        "model.bin",
        "record.json",
    }


def test_a_disk_that_is_full_leaves_no_model_that_seems_whole(
    own: reslab.Run, tiny_source: reslab.ArraySource, planted: list, monkeypatch
) -> None:
    quantize_run(own, tolerance=1.0, data=tiny_source)
    stock = workbench.write_atomically

    def full(path: Path, content: bytes) -> None:
        if path.suffix == ".bin":
            raise UserError("no room")
        stock(path, content)

    monkeypatch.setattr(workbench, "write_atomically", full)
    with pytest.raises(UserError, match="no room"):
        quantize_run(own, tolerance=lost(1, own), data=tiny_source)
    assert own.quantization is None


# --- what is refused --------------------------------------------------------------------------


def refused(own: reslab.Run, source: reslab.ArraySource, **options: float) -> str:
    before = snapshot(own.path)
    with pytest.raises(UserError) as caught:
        quantize_run(own, data=source, **options)
    assert snapshot(own.path) == before
    return str(caught.value)


def test_a_run_without_validation(own: reslab.Run, tiny_source: reslab.ArraySource) -> None:
    facts = own.spec.facts.model_copy(update={"val_images": 0})
    own = reslab.Run(own.folder, own.spec.model_copy(update={"facts": facts}))
    assert "expected validation images, by which to judge it" in refused(own, tiny_source)


@pytest.mark.parametrize("options", [{"images": 0}, {"tolerance": -0.1}, {"tolerance": 1.5}])
def test_numbers_without_a_meaning(own: reslab.Run, tiny_source, options) -> None:
    assert "one image at least and a tolerance of 0 to 1" in refused(own, tiny_source, **options)


def test_without_nncf(own: reslab.Run, tiny_source: reslab.ArraySource, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    assert "nncf is not installed; `pip install 'reslab[export]'`" in refused(own, tiny_source)


def test_a_run_in_training(own: reslab.Run, tiny_source: reslab.ArraySource) -> None:
    with locked(own.path):
        assert "is in use" in refused(own, tiny_source)


def test_a_run_without_weights(own: reslab.Run, tiny_source: reslab.ArraySource) -> None:
    own.folder.weights("best").unlink()
    assert "best.safetensors" in refused(own, tiny_source)


def test_logits_that_are_no_numbers(
    own: reslab.Run, tiny_source: reslab.ArraySource, monkeypatch
) -> None:
    nothing = np.full((own.spec.facts.val_images, 3), np.nan, np.float32)
    with monkeypatch.context() as patch:
        patch.setattr(workbench, "quantize", lambda *_: (b"", b""))
        patch.setattr(workbench, "compute_int8", lambda *_: nothing)
        with pytest.raises(ReslabError, match=r"int8 model of .* gives logits that are not finite"):
            quantize_run(own, data=tiny_source)
    spoil_classifier(own, float("nan"))
    with pytest.raises(TrainingDiverged, match="not finite"):
        quantize_run(own, data=tiny_source)
    assert not (own.path / "int8").exists()


def test_other_weights_are_noticed(
    made: reslab.Run, tmp_path: Path, tiny_source: reslab.ArraySource
) -> None:
    run = reslab.load_run(shutil.copytree(made.path, tmp_path / "run"))
    model = run.model()
    with torch.no_grad():
        next(model.parameters()).mul_(1.01)
    run.folder.weights("best").write_bytes(weights_to_bytes(model))
    with pytest.raises(UserError, match="the best weights have changed after it; `reslab quantize"):
        evaluate_run(run, source=tiny_source, engine="openvino-int8")
    # Nothing was opened for it.
    assert len(json.loads(json.dumps(run.folder.read_openings()))) == 1
