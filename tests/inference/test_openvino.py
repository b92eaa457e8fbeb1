"""OpenVINO; that its outputs are the net's is told by tests/contract/test_engines.py."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from reslab.engine.machine import inspect_machine
from reslab.engine.runtime import Runtime
from reslab.inference.openvino import OpenVino, OpenVinoBf16, convert, import_openvino

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
