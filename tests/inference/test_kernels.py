"""What the contract of all engines does not see of this one."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import reslab
from reslab.engine.runtime import Runtime
from reslab.errors import ReslabError
from reslab.inference import kernels as subject
from reslab.inference.kernels import OwnKernels, freeze
from reslab.models.blocks import BasicBlock
from reslab.ops.frozen import FrozenBlock
from reslab.ops.native import Found, Kernels


@pytest.mark.parametrize(
    ("name", "options", "blocks"),
    [
        ("resnet14", {}, 6),
        ("plain14", {}, 6),
        ("resnet50", {}, 16),
    ],
)
def test_blocks_that_can_be_are_frozen_and_the_net_stays_as_it_was(
    kernels: Kernels, name: str, options: dict[str, str], blocks: int
) -> None:
    torch.manual_seed(0)
    model = reslab.create_model(name, num_classes=5, **options)
    model(torch.randn(4, 3, 40, 40))
    model.eval()
    before = copy.deepcopy(model.state_dict())
    frozen = freeze(model, kernels)
    assert sum(isinstance(m, FrozenBlock) for m in frozen.modules()) == blocks
    assert not any(isinstance(m, FrozenBlock) for m in model.modules())
    x = torch.randn(2, 3, 40, 40).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        expected = copy.deepcopy(model).double()(x.double())
        found = frozen.to(memory_format=torch.channels_last)(x)
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-4)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_channels_that_no_vector_divides_stay_with_torch(kernels: Kernels) -> None:
    model = reslab.ResNet(BasicBlock, (1, 1), (24, 48), stem="small").eval()
    lanes = [isinstance(m, FrozenBlock) for m in freeze(model, kernels).modules()]
    # The second block gives 48, which vectors of 16 and of 8 divide.
    assert sum(lanes) == (2 if 24 % kernels.lanes == 0 else 1)


def test_nets_of_others_are_refused(kernels: Kernels) -> None:
    with pytest.raises(ReslabError, match="reslab's own nets"):
        freeze(nn.Sequential(nn.Linear(2, 2)), kernels)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("preact_resnet18", {}),
        ("resnet14", {"norm": "group"}),
        ("resnet14", {"activation": "silu"}),
        ("resnext50_32x4d", {}),  # groups, and strides between other channels than ours
    ],
)
def test_a_net_that_they_cannot_make_faster_is_refused_before_anything_is_built(
    monkeypatch: pytest.MonkeyPatch, name: str, options: dict[str, str]
) -> None:
    monkeypatch.setattr(subject, "find_kernels", lambda: pytest.fail("built"))
    model = reslab.create_model(name, num_classes=5, **options).eval()
    with pytest.raises(ReslabError, match="no block with a 3x3 convolution that they compute"):
        OwnKernels().prepare(model, torch.randn(1, 3, 32, 32), Runtime())


def test_a_block_that_is_listened_to_is_left_as_it_is(kernels: Kernels) -> None:
    model = reslab.create_model("resnet14", num_classes=5).eval()
    seen: list[nn.Module] = []
    model.layer1[0].conv1.register_forward_hook(lambda conv, *_: seen.append(conv))
    frozen = freeze(model, kernels)
    assert sum(isinstance(m, FrozenBlock) for m in frozen.modules()) == 5
    frozen(torch.randn(1, 3, 16, 16))
    assert len(seen) == 1


def test_the_engine_says_why_there_are_no_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "kernels_obstacle", lambda: "no compiler")
    assert OwnKernels().obstacle() == "no compiler"
    monkeypatch.setattr(subject, "find_kernels", lambda: Found(None, "it did not build"))
    model = reslab.create_model("resnet14", num_classes=5).eval()
    with pytest.raises(ReslabError, match="it did not build"):
        OwnKernels().prepare(model, torch.randn(1, 3, 8, 8), Runtime())


def test_a_callers_autocast_is_not_the_engines(kernels: Kernels) -> None:
    del kernels
    model = reslab.create_model("resnet14", num_classes=5).eval()
    images = torch.randn(2, 3, 16, 16)
    forward = OwnKernels().prepare(model, images, Runtime())
    expected = forward(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(forward(images), expected)


def test_images_may_come_in_any_layout_and_number(kernels: Kernels) -> None:
    del kernels
    model = reslab.create_model("resnet14", num_classes=5, in_channels=1).eval()
    images = torch.randn(5, 1, 16, 16)
    forward = OwnKernels().prepare(model, images[:2], Runtime())
    expected = model(images)
    torch.testing.assert_close(forward(images), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(forward(images[:1]), expected[:1], rtol=1e-4, atol=1e-4)
