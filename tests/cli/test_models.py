"""``reslab models``."""

from __future__ import annotations

import json

import pytest

from reslab.catalog.nets import NETS
from reslab.cli.main import run


def test_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["models"]
    assert [row["name"] for row in rows] == [net.name for net in NETS]
    resnet18 = next(row for row in rows if row["name"] == "resnet18")
    assert resnet18["parameters"] == 11_689_512
    assert resnet18["macs"] == 1_814_073_344
    assert resnet18["image_size"] == 224


def test_one_has_stages_that_add_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "resnet20", "--json"]) == 0
    net = json.loads(capsys.readouterr().out)
    assert sum(stage["parameters"] for stage in net["stages"]) == net["parameters"]
    assert sum(stage["macs"] for stage in net["stages"]) == net["macs"]
    assert [s["name"] for s in net["stages"]][-1] == "fc"


def test_tables(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models"]) == 0
    assert "11,689,512" in capsys.readouterr().out
    assert run(["models", "plain18"]) == 0
    assert "512 x 7 x 7" in capsys.readouterr().out
