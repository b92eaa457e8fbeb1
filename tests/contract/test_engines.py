"""Whatever is in the catalogue of engines gives what the net gives, and leaves it as it was."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from functools import partial
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from torch import nn

from reslab.data.normalise import Normaliser
from reslab.engine.machine import inspect_machine
from reslab.engine.runtime import Runtime
from reslab.inference.catalog import ENGINES, Entry, obstacle_to
from reslab.inference.int8 import Quantized
from reslab.inference.nncf import WAYS, quantize
from reslab.inference.session import Session
from reslab.models.blocks import BasicBlock, Bottleneck
from reslab.models.preact import PreActBasicBlock
from reslab.models.resnet import ResNet

MEAN, SD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
PIXELS = np.random.default_rng(0).integers(0, 256, (11, 3, 9, 7)).astype(np.uint8)
BATCH = 4

NETS = {
    # Channels that reslab's own kernels take.
    "padded": lambda: ResNet(
        BasicBlock, (1, 1), (16, 32), num_classes=3, stem="small", shortcut="A"
    ),
    "projected": lambda: ResNet(
        Bottleneck, (1, 1), (4, 8), num_classes=3, shortcut="C", activation="silu", dropout=0.5
    ),
    "preactivation": lambda: ResNet(
        PreActBasicBlock, (2, 1), (4, 8), num_classes=3, stem="small", stochastic_depth=0.5
    ),
    "group": lambda: ResNet(
        BasicBlock, (1,), (8,), num_classes=3, stem="small", shortcut="none", norm="group"
    ),
}
# These take seconds to prepare any net, so that one of each is in the quick suite.
LONG = {"onnxruntime", "inductor", "openvino-int8"}


def lived(model: ResNet) -> ResNet:
    """With running statistics and scales other than those it starts with."""
    for _ in range(3):
        model(torch.randn(8, 3, 9, 7) * 2 + 1)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 2)
                module.bias.uniform_(-1, 1)
    return model


def by_hand(model: nn.Module) -> np.ndarray:
    """The same in fp64, on a normalisation written out."""
    images = (PIXELS / 255 - np.reshape(MEAN, (3, 1, 1))) / np.reshape(SD, (3, 1, 1))
    model.double().eval()
    with torch.no_grad():
        return model(torch.from_numpy(images)).numpy()


def open_session(model: nn.Module, entry: Entry, **options: object) -> Session:
    """With that engine, as on a machine that has what it is made for."""
    machine = inspect_machine()
    if entry.precision == "bf16" and not machine.features["avx512_bf16"]:
        pytest.skip("this CPU has no bf16")
    machine = replace(machine, features={**machine.features, "amx_bf16": True})
    obstacle = obstacle_to(entry, "cpu", machine.features)
    if obstacle is not None:
        pytest.skip(obstacle.reason)
    if entry.precision == "int8":
        options["quantized"] = partial(quantized, model)
    return Session(
        model,
        Normaliser(MEAN, SD),
        Runtime(),
        engine=entry.name,
        batch_size=BATCH,
        machine=machine,
        **options,
    )


def quantized(model: nn.Module) -> Quantized:
    """As a run would have one stored; that its classes may change is told by other tests."""
    if find_spec("nncf") is None:
        pytest.skip("nncf is not installed")
    parts = quantize(deepcopy(model).eval(), PIXELS, Normaliser(MEAN, SD), WAYS[0])
    return Quantized(*parts, changed=0, images=0)


def combinations() -> list[object]:
    return [
        pytest.param(
            entry,
            net,
            marks=[pytest.mark.slow] if entry.name in LONG and net != "padded" else [],
            id=f"{entry.name}-{net}",
        )
        for entry in ENGINES
        for net in NETS
        # The others have nothing that they compute: tests/inference/test_kernels.py.
        if entry.name != "kernels" or net == "padded"
    ]


@pytest.mark.filterwarnings("error:the engine")
@pytest.mark.parametrize(("entry", "net"), combinations())
def test_logits_are_the_nets_for_any_number_of_images(entry: Entry, net: str) -> None:
    torch.manual_seed(0)
    model = lived(NETS[net]()).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    strides = {name: tensor.stride() for name, tensor in model.state_dict().items()}
    session = open_session(model, entry)
    # One whole batch, an odd rest, several and a rest, one image, and pixels in another layout.
    turned = np.ascontiguousarray(PIXELS.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    wholes = [PIXELS[:4], PIXELS[:3], PIXELS, PIXELS[:1], turned]
    found = [session.outputs(pixels) for pixels in wholes]
    # It was not refused and replaced.
    assert session.engine == entry.name
    assert {module.training for module in model.modules()} == {True}
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert strides == {name: tensor.stride() for name, tensor in after.items()}
    expected = by_hand(model)
    if entry.precision == "int8":
        # Near on the whole, and for each image the same however many come with it.
        assert np.corrcoef(found[2].ravel(), expected.ravel())[0, 1] > 0.9
        expected = found[2]
    tolerance = 0.1 if entry.precision == "bf16" else 1e-4
    for pixels, logits in zip(wholes, found, strict=True):
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits, expected[: len(pixels)], rtol=tolerance, atol=tolerance)


@pytest.mark.filterwarnings("error:the engine")
@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(e, marks=[pytest.mark.slow] if e.name in LONG else [], id=e.name)
        for e in ENGINES
        if e.precision != "int8"
    ],
)
def test_embeddings_are_the_nets(entry: Entry) -> None:
    torch.manual_seed(0)
    model = lived(NETS["padded"]())
    model.fc = nn.Identity()
    session = open_session(model, entry, are_logits=False)
    found = session.outputs(PIXELS)
    assert session.engine == entry.name
    assert found.shape == (11, 32)
    tolerance = 1e-4 if entry.precision == "fp32" else 0.05
    np.testing.assert_allclose(found, by_hand(model), rtol=tolerance, atol=tolerance)
