"""The command around the proof."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import reslab
from reslab.cli.main import run
from reslab.cli.output import tell
from reslab.spec.run import RunSpec
from reslab.workbench.resume_check import ResumeCheck


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What the check was asked for; it answers that all is equal."""
    found: list[object] = []

    def answer(what: object, **options: object) -> ResumeCheck:
        found.append((what, options))
        return ResumeCheck(steps=8, cuts=(3, 6), tensors=90, differing=())

    monkeypatch.setattr("reslab.workbench.resume_check.check_resume", answer)
    return found


def test_settings_are_those_of_train(
    asked: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--recipe", "paper", "--model", "resnet20", "--set", "model.dropout=0.2"]
    assert run(["resume-check", *options]) == 0
    assert "equal to the bit after 8 steps, cut after 3, 6" in capsys.readouterr().out
    ((spec, _),) = asked  # type: ignore[misc]
    assert isinstance(spec, RunSpec)
    assert (spec.recipe, spec.model.name, spec.model.dropout) == ("paper", "resnet20", 0.2)


def test_a_run_may_be_given(
    asked: list[object], trained: reslab.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["resume-check", str(trained.path), "--root", "there", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["equal"] is True and document["tensors"] == 90
    ((what, options),) = asked  # type: ignore[misc]
    assert what.path == trained.path and options == {"root": "there", "tell": tell}


def test_what_differs_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    result = ResumeCheck(steps=8, cuts=(3,), tensors=90, differing=("net.fc.bias",))
    monkeypatch.setattr("reslab.workbench.resume_check.check_resume", lambda *_, **__: result)
    assert run(["resume-check"]) == 1
    assert "not equal after 8 steps" in capsys.readouterr().err
    assert run(["resume-check", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["differing"] == ["net.fc.bias"]


def test_a_run_and_settings_are_too_much(
    trained: reslab.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["resume-check", str(trained.path), "--recipe", "paper"]) == 2
    assert "settings are given twice" in capsys.readouterr().err
    assert run(["resume-check", str(tmp_path / "none")]) == 2
    assert "there is no run" in capsys.readouterr().err
