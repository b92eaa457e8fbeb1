"""The int8 model that a folder holds, and whether it is of the weights there."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import reslab
from reslab.errors import UserError
from reslab.evaluation.quantization import Loss
from reslab.inference.catalog import Obstacle
from reslab.inference.int8 import Quantized
from reslab.inference.nncf import WAYS
from reslab.models.weights import weights_to_bytes
from reslab.workbench.of_weights import digest_weights
from reslab.workbench.quantized import (
    FORMAT,
    NUMBERS,
    RECORD,
    XML,
    Quantization,
    Trial,
    quantized_for,
    read_quantization,
)
from reslab.workbench.run import Use

PIXELS = np.zeros((1, 8, 8), np.uint8)


def loss(lost: int, changed: int = 9) -> Loss:
    return Loss(
        n=100,
        right_fp32=90,
        only_fp32=lost,
        only_int8=0,
        changed=changed,
        nll_fp32=0.1,
        nll_int8=0.2,
    )


def found(*lost: int, digest: str = "") -> Quantization:
    contents = {XML: b"xml", NUMBERS: b"numbers"}
    return Quantization(
        weights="best",
        weights_sha256=digest,
        calibration_images=12,
        tolerance=0.02,
        tried=tuple(Trial(way=way, loss=loss(n)) for way, n in zip(WAYS, lost, strict=False)),
        versions={"nncf": "3.4.0", "openvino": None},
        files={name: hashlib.sha256(part).hexdigest() for name, part in contents.items()},
    )


@pytest.fixture
def own(trained: reslab.Run, tmp_path: Path) -> reslab.Run:
    """A run with a model whose files hold nothing of the kind, and other last weights."""
    run = reslab.load_run(shutil.copytree(trained.path, tmp_path / "my run"))
    change(run, "last")
    (run.path / "int8").mkdir()
    (run.path / XML).write_bytes(b"xml")
    (run.path / NUMBERS).write_bytes(b"numbers")
    stored = found(1, digest=digest_weights(run.folder.weights("best")))
    run.folder.write_json(RECORD, {"format": FORMAT, **stored.to_json()})
    return run


def change(run: reslab.Run, use: Use) -> None:
    """Train the weights on, as it were."""
    model = run.model(use)
    with torch.no_grad():
        next(model.parameters()).mul_(1.01)
    run.folder.weights(use).write_bytes(weights_to_bytes(model))


def refusal(run: reslab.Run, use: Use = "best") -> str:
    """What whoever asks for it is told."""
    with pytest.raises(UserError) as caught:
        run.predict(PIXELS, use=use, engine="openvino-int8")
    obstacle = quantized_for(run.folder, use)
    assert isinstance(obstacle, Obstacle)
    text = str(caught.value)
    assert "the engine openvino-int8 cannot be used: " in text
    assert f"`reslab quantize '{run.path}'" in text
    return text


def test_the_model_comes_with_what_it_changed(own: reslab.Run) -> None:
    assert quantized_for(own.folder, "best") == Quantized(b"xml", b"numbers", changed=9, images=100)
    assert own.quantization is not None
    assert own.quantization.chosen.loss == loss(1)


def test_of_ways_that_were_tried_the_one_that_lost_least_counts() -> None:
    for lost, passed in (((1,), True), ((3, 2), True), ((3, 4), False), ((5, 3), False)):
        quantization = found(*lost)
        assert quantization.chosen.loss.only_fp32 == min(lost)
        assert quantization.passed is passed
        assert (
            Quantization.from_json(json.loads(json.dumps(quantization.to_json()))) == quantization
        )


def test_where_there_is_none_its_command_is_told(trained: reslab.Run) -> None:
    obstacle = quantized_for(trained.folder, "last")
    assert isinstance(obstacle, Obstacle) and not obstacle.is_news
    assert "there is no int8 model of the last weights" in obstacle.reason
    assert f"`reslab quantize {trained.path} --use last`" in obstacle.remedy
    assert trained.quantization is None


def test_weights_that_changed_make_it_stale(own: reslab.Run) -> None:
    change(own, "best")
    assert "since the best weights have changed" in refusal(own)
    assert quantized_for(own.folder, "best").is_news
    with pytest.warns(UserWarning, match="have changed"):
        assert own.quantization is None


def test_it_is_of_no_other_weights(own: reslab.Run) -> None:
    text = refusal(own, "last")
    assert "of the best weights and not of the last ones" in text and "--use last" in text
    shutil.copy(own.folder.weights("best"), own.folder.weights("last"))
    assert isinstance(quantized_for(own.folder, "last"), Quantized)


@pytest.mark.parametrize("name", [XML, NUMBERS])
@pytest.mark.parametrize("content", [None, b"", b"other"])
def test_a_file_that_was_damaged_is_never_handed_on(
    own: reslab.Run, name: str, content: bytes | None
) -> None:
    (own.path / name).unlink()
    if content is not None:
        (own.path / name).write_bytes(content)
    assert f"{name} is damaged or missing" in refusal(own)


@pytest.mark.parametrize("text", ["", "not JSON", "[]", "{}", '{"format": 1}', '{"format": 2}'])
def test_a_damaged_record_is_told_with_a_remedy(own: reslab.Run, text: str) -> None:
    (own.path / RECORD).write_text(text)
    with pytest.raises(UserError, match=r"record\.json .*; `reslab quantize '.*'` writes"):
        read_quantization(own.folder)
    refusal(own)
    # Who did not ask for it is served all the same.
    assert own.predict(PIXELS).shape == (1, 3)


@pytest.mark.parametrize("name", ["tried", "versions", "files", "tolerance", "calibration_images"])
@pytest.mark.parametrize("value", [None, "x", [], [{}], {}, -1, float("nan")])
def test_no_value_brings_a_traceback(own: reslab.Run, name: str, value: object) -> None:
    if (name, value) == ("versions", {}):
        return  # it may name none
    document = own.folder.read_json(RECORD)
    (own.path / RECORD).write_text(json.dumps({**document, name: value}))
    with pytest.raises(UserError, match="damaged"):
        read_quantization(own.folder)


def test_what_is_whole_and_no_model_is_told_when_it_is_used(own: reslab.Run) -> None:
    pytest.importorskip("openvino")
    with pytest.raises(
        UserError, match=r"openvino-int8 could not be made ready: .*reslab quantize"
    ):
        own.predict(PIXELS, engine="openvino-int8")


def test_it_gives_no_embeddings(own: reslab.Run) -> None:
    with pytest.raises(UserError, match="classes, not embeddings"):
        own.embeddings(PIXELS[:, None], engine="openvino-int8")
