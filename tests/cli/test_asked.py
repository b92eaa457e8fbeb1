"""The options that make a specification."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from reslab.cli.asked import Asked, gather, settings_help
from reslab.errors import UserError
from reslab.spec.faults import leaves
from reslab.spec.run import RunSpec


def test_nothing_typed_is_the_default_run() -> None:
    assert Asked().spec() == RunSpec()
    assert Asked().given() == []


def test_options_are_settings_and_set_wins(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("training: {epochs: 3, lr: 0.3}\nmodel: {name: resnet20}\n")
    asked = Asked(
        config=tmp_path / "mine.yaml",
        recipe="paper",
        data="mnist",
        root="2026",
        epochs="4",
        batch_size="16",
        seed="7",
        time_limit="5m",
        set_=("training.batch_size=8",),
    )
    spec = asked.spec()
    assert (spec.recipe, spec.data.name, spec.data.root) == ("paper", "mnist", "2026")
    assert (spec.training.epochs, spec.training.lr, spec.training.batch_size) == (4, 0.3, 8)
    assert (spec.model.name, spec.seeds.base, spec.training.time_limit) == ("resnet20", 7, 300)
    assert asked.given() == [
        "data", "root", "recipe", "epochs", "batch-size", "seed", "time-limit", "config", "set",
    ]  # fmt: skip


def test_all_faults_come_at_once() -> None:
    with pytest.raises(UserError) as caught:
        Asked(data="mnits", lr="-1", set_=("engine.device=gpu",)).spec()
    assert all(name in str(caught.value) for name in ("data.name", "training.lr", "engine.device"))


def test_later_sources_win() -> None:
    config = {"training": {"lr": 0.5, "epochs": 7}, "recipe": "paper"}
    spec = gather(None, config, {"training": {"epochs": 9}})
    assert (spec.recipe, spec.training.lr, spec.training.epochs) == ("paper", 0.5, 9)
    assert spec.training.schedule.kind == "multistep"
    assert gather("fast", config).training.schedule.kind == "onecycle"
    assert gather(None, {}).recipe == "fast"


def test_names_are_text_whatever_yaml_makes_of_them() -> None:
    assert yaml.safe_load("1e3") == "1e3"
    assert gather(None, {}, {"data": {"root": "2026"}}).data.root == "2026"


def test_help_tells_every_setting() -> None:
    text = settings_help()
    for name, _ in leaves(RunSpec):
        assert name == "recipe" or name in text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("1.5s", 1.5), ("5m", 300), ("1h30m", 5400), ("1h 2m 3s", 3723)],
)
def test_limits_of_time(text: str, seconds: float) -> None:
    assert gather(None, {}, {"training": {"time_limit": text}}).training.time_limit == seconds
