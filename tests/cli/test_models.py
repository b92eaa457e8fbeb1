"""``reslab models``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

import reslab
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


def test_the_stage_table_of_resnet50(capsys: pytest.CaptureFixture[str]) -> None:
    """As the notes retell it: 7x7 stem, pool, stages of 3, 4, 6, 3 bottlenecks, pool, one layer."""
    assert run(["models", "resnet50"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("resnet50: 25,557,032 parameters; for an image of 3 x 224 x 224")
    table = {line.split()[0]: " ".join(line.split()[1:]) for line in lines[2:]}
    assert table["conv1"].startswith("7x7, 64, stride 2 64 x 112 x 112 9,408")
    assert table["maxpool"].startswith("3x3 max pool, stride 2 64 x 56 x 56")
    blocks = {"layer1": "3 x [1x1, 64", "layer2": "4 x", "layer3": "6 x", "layer4": "3 x"}
    assert all(table[name].startswith(start) for name, start in blocks.items())
    assert "2048 x 7 x 7" in table["layer4"]
    assert table["fc"].startswith("fully connected, 1000 1000 2,049,000")
    assert not {"post", "dropout"} & table.keys()


def test_options_change_what_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    def told(*options: str) -> dict[str, Any]:
        assert run(["models", "resnet20", *options, "--json"]) == 0
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        return document

    plain = told()
    assert plain["options"]["shortcut"] == "A"
    assert told("--set", "model.shortcut=C")["parameters"] > plain["parameters"]
    assert told("--num-classes", "100")["parameters"] == plain["parameters"] + 90 * 65
    grey = told("--in-channels", "1", "--image-size", "28")
    assert grey["parameters"] == plain["parameters"] - 2 * 9 * 16
    assert grey["macs"] < plain["macs"]
    assert told("--image-size", "96")["options"]["stem"] == "small"
    assert sum(s["activation_bytes"] for s in grey["stages"]) == grey["activation_bytes"]


def test_the_stem_follows_the_image_size_as_in_training(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for size, stem in (("95", "small"), ("96", "imagenet")):
        assert run(["models", "resnet18", "--image-size", size, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["options"]["stem"] == stem


def test_weights_are_tried(trained: reslab.Run, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--image-size", "8", "--in-channels", "3", "--num-classes", "4"]
    weights = ["--try-weights", str(trained.folder.path)]
    assert run(["models", "resnet14", *options, *weights]) == 0
    out = capsys.readouterr().out
    assert "repeated from 1 channels to 3" in out
    assert "for 3 classes there, 4 here: left at initialisation" in out
    assert run(["models", "resnet14", *options, *weights, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["weights"]
    assert {"name": "fc.bias", "fate": "kept"}.items() <= told["tensors"][-1].items()
    assert {"name": "fc", "fate": "kept", "tensors": 2}.items() <= told["parts"][-1].items()


def test_doubtful_weights_are_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(reslab.create_model("resnet14").state_dict(), tmp_path / "new.pth")
    assert run(["models", "resnet14", "--try-weights", str(tmp_path / "new.pth")]) == 0
    assert "warning: the net looks untrained" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["resnet19"], "unknown net 'resnet19'; did you mean 'resnet1"),
        (["resnet18", "--set", "model.stride_in_1x1=true"], "has no meaning for resnet18"),
        (["plain18", "--set", "model.shortcut=B"], "plain18 is a plain net and has no shortcut"),
        (["plain18", "--set", "model.zero_init_residual=true"], "needs a shortcut"),
        (["resnet18", "--set", "model.shortcut=D"], "model.shortcut"),
        (["resnet18", "--set", "model.norms=batch"], "did you mean model.norm?"),
        (["resnet18", "--set", "training.lr=1"], "training is no setting of a net"),
        (["resnet18", "--set", "model.name=resnet50"], "the net is named twice"),
        (["resnet18", "--set", "model=resnet50"], "the net is named twice"),
        (["resnet18", "--image-size", "0"], "--image-size cannot be used"),
        (["resnet18", "--in-channels", "x"], "--in-channels cannot be used"),
        (["--image-size", "32"], "--image-size is about one net"),
        (["resnet18", "--try-weights", "missing.pth"], "there are no weights at missing.pth"),
        (["resnet20", "--try-weights", "imagenet"], "nobody publishes ImageNet weights"),
    ],
)
def test_mistakes_are_told_in_one_sentence(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["models", *arguments]) == 2
    captured = capsys.readouterr()
    assert text in captured.err
    assert len(captured.err.splitlines()) == 1
    assert captured.out == ""


def test_hostile_and_damaged_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "trap"),)

    torch.save({"fc.bias": Hostile()}, tmp_path / "hostile.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "hostile.pth").read_bytes()[:200])
    for name, text in (("hostile", "was refused"), ("cut", "cannot be read")):
        assert run(["models", "resnet18", "--try-weights", str(tmp_path / f"{name}.pth")]) == 2
        err = capsys.readouterr().err
        assert text in err
        assert len(err.splitlines()) == 1
    assert not (tmp_path / "trap").exists()
