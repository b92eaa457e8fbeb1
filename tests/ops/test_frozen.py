from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from reslab.errors import ReslabError
from reslab.models.blocks import BasicBlock, Block, Bottleneck
from reslab.models.fused import plan_of
from reslab.ops import strided, winograd
from reslab.ops.frozen import FrozenBlock
from reslab.ops.native import Kernels

BLOCKS = {
    "identity": lambda: BasicBlock(16, 16),
    "many channels": lambda: BasicBlock(80, 80),
    "padded": lambda: BasicBlock(16, 32, 2, shortcut="A"),
    "projected": lambda: BasicBlock(16, 32, 2),
    "conv3x3": lambda: BasicBlock(32, 64, 2, shortcut="conv3x3"),
    "plain": lambda: BasicBlock(16, 16, shortcut="none"),
    "bottleneck": lambda: Bottleneck(64, 16, 1),
    "strided bottleneck": lambda: Bottleneck(64, 32, 2),
}


def lived(block: Block) -> Block:
    """With running statistics and scales other than those it starts with."""
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.2, 3)
            nn.init.uniform_(module.weight, -1, 2)
            nn.init.normal_(module.bias)
    return block.eval()


@pytest.mark.parametrize("size", [(8, 8), (7, 5), (1, 1), (12, 17)])
@pytest.mark.parametrize("name", BLOCKS)
def test_it_gives_what_the_block_gives_in_evaluation(
    kernels: Kernels, name: str, size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    block = lived(BLOCKS[name]())
    before = copy.deepcopy(block.state_dict())
    plan = plan_of(block)
    assert plan is not None
    frozen = FrozenBlock(kernels, plan)
    x = torch.randn(3, plan.branch[0].conv.in_channels, *size)
    with torch.inference_mode():
        expected = copy.deepcopy(block).double()(x.double())
        for given in (x, x.contiguous(memory_format=torch.channels_last), x[:1]):
            found = frozen(given)
            wanted = expected[: len(given)]
            assert (found - wanted).norm() <= 1e-5 * wanted.norm()
    after = block.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_weights_are_packed_once(kernels: Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(lived(BasicBlock(16, 32, 2)))
    assert plan is not None
    frozen = FrozenBlock(kernels, plan)
    x = torch.randn(2, 16, 8, 8)
    with torch.inference_mode():
        expected = frozen(x)
        for room in (strided, winograd):
            monkeypatch.delattr(room, "pack")
        assert torch.equal(frozen(x), expected)


def test_what_the_kernels_cannot_read_is_refused(kernels: Kernels) -> None:
    plan = plan_of(lived(BasicBlock(16, 16)))
    assert plan is not None
    frozen = FrozenBlock(kernels, plan)
    with pytest.raises(ReslabError, match="float32"):
        frozen(torch.randn(1, 16, 4, 4, dtype=torch.bfloat16))
    with pytest.raises(ReslabError, match="fit"):
        frozen(torch.randn(1, 32, 4, 4))
