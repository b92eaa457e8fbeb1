import pytest
import torch
import torch.nn.functional as F
from torch import nn

from reslab.catalog.nets import SHORTCUTS
from reslab.models.blocks import BasicBlock


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("shortcut", SHORTCUTS)
@pytest.mark.parametrize("size", [(8, 8), (7, 8), (5, 3), (1, 1)])
def test_odd_and_even_sizes_are_halved_upwards_on_both_branches(shortcut, size):
    block = BasicBlock(3, 6, stride=2, shortcut=shortcut)
    out = block(torch.randn(2, 3, *size))
    assert out.shape == (2, 6, (size[0] + 1) // 2, (size[1] + 1) // 2)


@pytest.mark.parametrize("shortcut", SHORTCUTS)
def test_the_block_is_relu_of_branch_plus_shortcut(shortcut):
    block = BasicBlock(3, 6, stride=2, shortcut=shortcut).double()
    x = torch.randn(4, 3, 7, 7, dtype=torch.float64)

    def norm(y, module):
        mean = y.mean((0, 2, 3), keepdim=True)
        var = ((y - mean) ** 2).mean((0, 2, 3), keepdim=True)
        scale, shift = module.weight.view(1, -1, 1, 1), module.bias.view(1, -1, 1, 1)
        return (y - mean) / (var + 1e-5).sqrt() * scale + shift

    branch = norm(F.conv2d(x, block.conv1.weight, stride=2, padding=1), block.bn1).clamp(min=0)
    branch = norm(F.conv2d(branch, block.conv2.weight, padding=1), block.bn2)
    match shortcut:
        case "none":
            side = torch.zeros_like(branch)
        case "A":
            side = torch.cat([x[:, :, ::2, ::2], torch.zeros(4, 3, 4, 4)], dim=1)
        case _:
            weight = block.downsample[0].weight
            padding = weight.shape[-1] // 2
            side = norm(F.conv2d(x, weight, stride=2, padding=padding), block.downsample[1])
    expected = (branch + side).clamp(min=0)
    torch.testing.assert_close(block(x), expected, rtol=1e-10, atol=1e-12)


def test_a_zero_branch_makes_an_identity_block_give_relu_of_its_input():
    block = BasicBlock(4, 4, shortcut="B")
    nn.init.zeros_(block.branch_end().weight)
    assert (block.bn2.weight == 0).all()
    assert (block.bn1.weight == 1).all()
    x = torch.randn(2, 4, 5, 5)
    assert torch.equal(block(x), x.clamp(min=0))


def test_the_input_is_left_as_it_was():
    x = torch.randn(2, 4, 5, 5)
    before = x.clone()
    for shortcut in SHORTCUTS:
        BasicBlock(4, 4, shortcut=shortcut)(x)
        BasicBlock(4, 8, stride=2, shortcut=shortcut)(x)
    assert torch.equal(x, before)
