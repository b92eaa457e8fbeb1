"""Quantising with NNCF: what comes out, and that nothing else does."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from reslab.data.normalise import Normaliser
from reslab.engine.runtime import Runtime
from reslab.errors import ReslabError, UserError
from reslab.inference.int8 import Quantized, compute_int8
from reslab.inference.nncf import WAYS, Way, check_packages, import_nncf, quantize
from reslab.models.blocks import BasicBlock
from reslab.models.resnet import ResNet

pytestmark = pytest.mark.skipif(find_spec("nncf") is None, reason="nncf is not installed")

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 3, 8, 8)).astype(np.uint8)
NORMALISER = Normaliser((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))

# As a script of somebody who uses OpenVINO too: its reports are there, and must stay unused.
PROGRAM = """
import sys, types, logging
class Reporter:
    def __init__(self, *arguments, **options):
        raise AssertionError("a report was begun")
telemetry = types.ModuleType("openvino_telemetry")
telemetry.Telemetry = Reporter
sys.modules["openvino_telemetry"] = telemetry
import socket
def refuse(*arguments, **options):
    raise AssertionError("the network was asked for")
socket.socket.connect = refuse
import tests.inference.test_nncf as own
before = logging.getLoggerClass(), logging.root.manager.disable
xml, numbers = own.quantize(own.make(), own.PIXELS, own.NORMALISER, own.WAYS[0])
assert b"FakeQuantize" in xml and numbers
assert (logging.getLoggerClass(), logging.root.manager.disable) == before
assert sys.modules["openvino_telemetry"] is telemetry
import nncf.telemetry
assert type(nncf.telemetry.telemetry).__name__ == "MagicMock"
"""


def make() -> ResNet:
    torch.manual_seed(0)
    return ResNet(BasicBlock, (1,), (8,), num_classes=3, stem="small").eval()


def test_nothing_is_printed_logged_or_reported() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_model_has_int8_and_the_net_stays_as_it_was() -> None:
    model = make()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    xml, numbers = quantize(model, PIXELS, NORMALISER, WAYS[0])
    assert all(torch.equal(before[n], t) for n, t in model.state_dict().items())
    # A byte for each weight of a convolution, and little else.
    weights = sum(p.numel() for p in model.parameters() if p.ndim == 4)
    assert weights < len(numbers) < 4 * weights
    assert b'element_type="i8"' in xml
    found = compute_int8(Quantized(xml, numbers), PIXELS, NORMALISER, Runtime())
    with torch.no_grad():
        expected = model(NORMALISER(PIXELS)).numpy()
    assert np.abs(found - expected).max() < 0.2 * np.abs(expected).max()
    np.testing.assert_array_equal(found.argmax(axis=1), expected.argmax(axis=1))
    assert (found != expected).any()


def test_the_same_images_give_the_same_model() -> None:
    first, second, other = (
        quantize(make(), pixels, NORMALISER, WAYS[0]) for pixels in (PIXELS, PIXELS, PIXELS // 4)
    )
    assert first[1] == second[1] != other[1]


def test_the_ways_are_nncfs_own() -> None:
    nncf = import_nncf()
    for way in WAYS:
        nncf.QuantizationPreset(way.preset)
    assert len(set(WAYS)) == len(WAYS)
    assert str(WAYS[0]) == "preset performance, fast bias correction"
    with pytest.raises(ReslabError, match=r"NNCF cannot quantise this net: .*odd"):
        quantize(make(), PIXELS, NORMALISER, Way(preset="odd", fast_bias_correction=True))


@pytest.mark.parametrize("name", ["nncf", "openvino"])
def test_a_missing_package_is_told_with_the_remedy(name: str, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=rf"{name}.* not installed; .*reslab\[export\]"):
        check_packages()
