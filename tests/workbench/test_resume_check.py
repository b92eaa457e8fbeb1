"""The proof holds for what is deterministic, and catches what is not."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

import reslab
from reslab.errors import UserError
from reslab.runs.checkpoint import Checkpoint
from reslab.workbench import resume_check as module
from reslab.workbench.resume_check import check_resume
from tests.training.test_observers import EPOCH

SPEC = reslab.recipe(training={"batch_size": 12}, model={"dropout": 0.2})

# What a step of one's own may do that is no function of (seeds, epoch, step): here the weights
# move a little by what the system's entropy says.
PLANTED = """
import os
import torch
from reslab.training import stepper

original = stepper.train_step

def restless(model, *arguments, **options):
    result = original(model, *arguments, **options)
    with torch.no_grad():
        next(model.parameters()).mul_(1 + int.from_bytes(os.urandom(2), "little") * 1e-7)
    return result

stepper.train_step = restless
"""


@pytest.fixture(autouse=True)
def _one_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part is a process of its own, which takes seconds to start."""
    monkeypatch.setattr(module, "cuts_of", lambda steps_per_epoch: (3,))


def test_resuming_is_equal(tiny_source: reslab.ArraySource) -> None:
    result = check_resume(SPEC, data=tiny_source)
    assert result.equal
    assert (result.steps, result.cuts) == (8, (3,))
    assert result.tensors > 3 * len(reslab.create_model("resnet14").state_dict()) / 2


def test_a_step_that_is_not_deterministic_is_caught(
    tiny_source: reslab.ArraySource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(PLANTED)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path.rstrip(os.pathsep))
    result = check_resume(SPEC, data=tiny_source)
    assert not result.equal
    assert "net.conv1.weight" in result.differing


def test_what_differs_is_named() -> None:
    def facts(**changes: float) -> dict[str, Any]:
        return {"history": [{**asdict(EPOCH), **changes}]}

    zero = torch.zeros(2)
    a = Checkpoint(8, {"x": zero, "y": zero, "n": zero / 0}, facts())
    same = Checkpoint(8, {"x": zero, "y": zero, "n": zero / 0}, facts(seconds=2.0))
    assert module._differences(a, same) == []
    other = Checkpoint(8, {"x": -zero, "z": zero, "n": zero / 0}, facts(train_loss=1.5))
    assert module._differences(a, other) == ["x", "y", "z", "the history"]


def test_a_run_is_tried_and_left_alone(
    trained: reslab.Run, tiny_source: reslab.ArraySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def remember(prepared: object, folder: Path, cuts: tuple[int, ...], tell: object) -> Checkpoint:
        tried.append((prepared, cuts))
        return Checkpoint(8, {}, {"history": []})

    monkeypatch.setattr(module, "_in_parts", remember)
    before = sorted((p, p.stat().st_mtime_ns) for p in trained.path.rglob("*"))
    assert check_resume(trained, data=tiny_source).equal
    assert sorted((p, p.stat().st_mtime_ns) for p in trained.path.rglob("*")) == before
    (whole, cuts), (parts, more) = tried
    assert whole is parts and (cuts, more) == ((), (3,))
    assert whole.run.engine == trained.spec.engine
    assert whole.run.total_steps == 2 * whole.run.facts.steps_per_epoch
    with pytest.raises(UserError):
        check_resume(trained)


@pytest.mark.slow
@pytest.mark.parametrize(
    "spec",
    [
        reslab.recipe("fast"),
        reslab.recipe("paper", data={"name": "fashion-mnist"}, model={"name": "resnet20"}),
        reslab.recipe("mnist-basic", data={"name": "mnist"}),
        reslab.recipe("fast", engine={"compile": True}),
    ],
    ids=["fast", "paper", "mnist-basic", "compiled"],
)
def test_recipes_can_be_resumed(
    real_data: Path, spec: reslab.RunSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # all cuts
    data = spec.data.model_copy(
        update={"root": None if spec.data.name == "digits" else str(real_data)}
    )
    assert check_resume(spec.model_copy(update={"data": data})).equal
