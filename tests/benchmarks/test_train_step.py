import importlib
import json
import math

import pytest

from reslab.models.cost import measure_cost
from reslab.models.create import create_model


@pytest.fixture
def train_step(benchmarks):
    return importlib.import_module("train_step")


def test_one_that_fails_falls_out_and_the_rest_goes_on(train_step, tmp_path, monkeypatch, capsys):
    # Called with the work in its process, where it fails.
    broken = train_step.CONTENDERS["timm"].__class__(make=dict, what="broken")
    monkeypatch.setitem(train_step.CONTENDERS, "timm", broken)
    out = tmp_path / "found.json"
    command = [
        *("train_step.py", "--cases", "resnet20@28", "--batch-size", "2", "--rounds", "2"),
        *("--seconds", "0.01", "--threads", "1", "--quick", "--no-compile", "--out", str(out)),
        *("--contenders", "reslab", "timm", "torchvision"),
        *("--variants", "nchw:engine.memory_format=contiguous,engine.precision=fp32"),
    ]
    monkeypatch.setattr("sys.argv", command)
    assert train_step.main() == 0
    found = json.loads(out.read_text())["cases"]["resnet20@28"]
    # torchvision has no such net: it takes no part and does not fail.
    assert list(found["contenders"]) == ["reslab", "reslab-nchw"]
    assert found["contenders"]["reslab-nchw"]["memory_format"] == "contiguous"
    assert found["failed"]["timm"]["stage"] == "build"
    assert "TypeError" in found["failed"]["timm"]["error"]
    for contender in found["contenders"].values():
        assert len(contender["rounds"]) == 2
        for entry in contender["rounds"]:
            assert entry["images"] == 2 * entry["steps"] >= 2
        assert 0 < contender["mfu"] < 1
        with_start = contender["images_per_second_with_start"]
        without = [entry["images_per_second"] for entry in contender["rounds"]]
        assert all(a <= b for a, b in zip(with_start, without, strict=True))
    assert list(found["ratios"]) == ["reslab/reslab-nchw"]
    assert found["environment"]["command"][0] == "benchmarks/train_step.py"
    assert found["environment"]["command"][13:15] == ["--out", "found.json"]
    assert "timm fell out (build)" in capsys.readouterr().out


def test_a_foreign_file_is_not_written_over(train_step, tmp_path, monkeypatch, capsys):
    out = tmp_path / "found.json"
    out.write_text('{"benchmark": "inference"}')
    monkeypatch.setattr("sys.argv", ["train_step.py", "--out", str(out)])
    assert train_step.main() == 2
    assert "is no result of train_step.py" in capsys.readouterr().err
    assert json.loads(out.read_text()) == {"benchmark": "inference"}


def test_images_of_another_size_are_refused(train_step, monkeypatch, capsys):
    command = ["train_step.py", "--cases", "resnet20@32", "--data", "digits", "--quick"]
    monkeypatch.setattr("sys.argv", command)
    assert train_step.main() == 2
    assert "received 1 channels of 8 pixels" in capsys.readouterr().err


def test_cells_stand_for_each_cell_of_the_grid(benchmarks):
    contenders = importlib.import_module("step_contenders")
    names = contenders.chosen(["cells", "reslab", "cell-fp32-contiguous-eager"])
    assert len(names) == 9 and names[-1] == "reslab"


@pytest.mark.parametrize(
    ("net", "options"), [("resnet20", {}), ("resnet14", {"shortcut": "conv3x3"})]
)
def test_the_nets_of_keras_are_the_same(benchmarks, monkeypatch, net, options):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    step_keras = importlib.import_module("step_keras")
    model = create_model(net, num_classes=10, **options)
    inputs = keras.Input((32, 32, 3))
    shortcut = options.get("shortcut", "A")
    features = step_keras.basic_net(inputs, step_keras.find_net(net), shortcut)
    theirs = keras.Model(inputs, keras.layers.Dense(10)(features))
    count = sum(math.prod(weight.shape) for weight in theirs.trainable_weights)
    assert count == sum(p.numel() for p in model.parameters())
    macs = sum(
        layer.output.shape[1] * layer.output.shape[2] * math.prod(layer.kernel.shape)
        for layer in theirs.layers
        if isinstance(layer, keras.layers.Conv2D)
    )
    cost = measure_cost(lambda: create_model(net, num_classes=10, **options), 3, 32)
    assert macs == cost.macs - model.fc.weight.numel()
