"""OpenVINO; that its outputs are the net's is told by tests/contract/test_engines.py."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest
import torch
from torch import nn

from reslab.engine.machine import inspect_machine
from reslab.engine.runtime import Runtime
from reslab.inference.openvino import (
    OpenVino,
    OpenVinoBf16,
    compile_model,
    convert,
    import_openvino,
    without_reports,
)
from reslab.models.blocks import BasicBlock
from reslab.models.resnet import ResNet

pytest.importorskip("openvino")

PROGRAM = """
import sys
from reslab.inference.openvino import import_openvino
openvino = import_openvino()
print(*(name for name in sys.modules if name.startswith("openvino_telemetry")))
print(openvino.tools.ovc.convert_impl.tm.__name__)
"""


def test_no_use_is_reported_to_its_maker() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["", "openvino.tools.ovc.telemetry_stub"]


def test_what_was_hidden_can_be_imported_afterwards() -> None:
    import_openvino()
    assert sys.modules.get("openvino_telemetry", "") is not None


def test_what_is_converted_has_one_static_shape() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2)).eval()
    converted = convert(model, torch.zeros(5, 3, 4, 4))
    (images,) = converted.inputs
    (outputs,) = converted.outputs
    assert list(images.shape) == [5, 3, 4, 4]
    assert list(outputs.shape) == [5, 2]


@pytest.mark.parametrize("shortcut", ["A", "B", "C"])
def test_the_number_of_images_may_be_left_open_and_chosen_later(shortcut: str) -> None:
    torch.manual_seed(0)
    model = ResNet(
        BasicBlock, (1, 1), (4, 8), num_classes=3, stem="small", shortcut=shortcut
    ).eval()
    for images in (1, 5):
        images_NCHW = torch.randn(images, 3, 9, 7)
        converted = convert(model, images_NCHW[:1].repeat(2, 1, 1, 1), any_batch=True)
        assert converted.inputs[0].partial_shape[0].is_dynamic
        converted.reshape(list(images_NCHW.shape))
        found = compile_model(converted, images_NCHW, Runtime())(images_NCHW)
        with torch.no_grad():
            torch.testing.assert_close(found, model(images_NCHW), rtol=1e-4, atol=1e-5)


def test_a_package_that_was_there_before_is_there_again(monkeypatch) -> None:
    there = ModuleType("openvino_telemetry")
    monkeypatch.setitem(sys.modules, "openvino_telemetry", there)
    with without_reports(), pytest.raises(ImportError):
        from openvino_telemetry import Telemetry  # noqa: F401, PLC0415
    assert sys.modules["openvino_telemetry"] is there


def settings(monkeypatch, engine: OpenVino, threads: int) -> dict[str, object]:
    """What the plug-in was told."""
    openvino = import_openvino()
    seen: dict[str, object] = {}
    stock = openvino.Core.compile_model

    def spy(self, model, device, config):
        seen.update(config)
        return stock(self, model, device, config)

    monkeypatch.setattr(openvino.Core, "compile_model", spy)
    model = nn.Sequential(nn.Conv2d(3, 4, 4), nn.Flatten()).eval()
    engine.prepare(model, torch.zeros(2, 3, 4, 4), Runtime(threads=threads))
    return seen


def test_fp32_is_forced_and_threads_are_the_runtimes(monkeypatch) -> None:
    seen = settings(monkeypatch, OpenVino(), 2)
    assert seen["INFERENCE_PRECISION_HINT"] == "f32"
    assert seen["INFERENCE_NUM_THREADS"] == 2
    # With all CPUs in use nothing is lost by pinning, with fewer two processes may be in the way.
    assert seen["ENABLE_CPU_PINNING"] is (inspect_machine().cpus <= 2)
    assert settings(monkeypatch, OpenVinoBf16(), 1)["INFERENCE_PRECISION_HINT"] == "bf16"
