import pytest
import torch
import torch.nn.functional as F
from torch import nn

from reslab.catalog.nets import SHORTCUTS
from reslab.models.blocks import BasicBlock, Bottleneck, bottleneck_width
from reslab.models.layers import no_norm


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


@pytest.mark.parametrize("shortcut", SHORTCUTS)
@pytest.mark.parametrize("stride_in_1x1", [False, True])
@pytest.mark.parametrize("groups", [1, 2])
def test_the_bottleneck_is_relu_of_branch_plus_shortcut(shortcut, stride_in_1x1, groups):
    block = Bottleneck(
        3,
        4,
        stride=2,
        shortcut=shortcut,
        groups=groups,
        width_per_group=96,
        stride_in_1x1=stride_in_1x1,
    ).double()
    x = torch.randn(4, 3, 7, 7, dtype=torch.float64)
    assert block.conv2.in_channels == 6 * groups
    strides = (2, 1) if stride_in_1x1 else (1, 2)

    def norm(y):
        mean = y.mean((0, 2, 3), keepdim=True)
        return (y - mean) / (((y - mean) ** 2).mean((0, 2, 3), keepdim=True) + 1e-5).sqrt()

    branch = norm(F.conv2d(x, block.conv1.weight, stride=strides[0])).clamp(min=0)
    # A grouped convolution is one for each part of the channels.
    parts = [
        F.conv2d(part, weight, stride=strides[1], padding=1)
        for part, weight in zip(
            branch.chunk(groups, 1), block.conv2.weight.chunk(groups, 0), strict=True
        )
    ]
    branch = norm(F.conv2d(norm(torch.cat(parts, 1)).clamp(min=0), block.conv3.weight))
    match shortcut:
        case "none":
            side = torch.zeros_like(branch)
        case "A":
            side = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, 13))
        case _:
            weight = block.downsample[0].weight
            side = norm(F.conv2d(x, weight, stride=2, padding=weight.shape[-1] // 2))
    torch.testing.assert_close(block(x), (branch + side).clamp(min=0), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    "make", [lambda **o: BasicBlock(8, 8, **o), lambda **o: Bottleneck(8, 2, **o)]
)
@pytest.mark.parametrize("shortcut", ["A", "B", "conv3x3"])
def test_with_its_last_convolution_zero_an_identity_block_gives_relu_of_its_input(make, shortcut):
    block = make(shortcut=shortcut)
    convolutions = [m for m in block.modules() if isinstance(m, nn.Conv2d)]
    nn.init.zeros_(convolutions[-1].weight)
    x = torch.randn(2, 8, 5, 5)
    # The norm behind it makes zeros of zeros.
    assert torch.equal(block(x), x.clamp(min=0))


def test_without_norms_the_branch_ends_in_a_convolution():
    assert BasicBlock(4, 4, norm=no_norm).branch_end().kernel_size == (3, 3)
    assert Bottleneck(4, 1, norm=no_norm).branch_end().kernel_size == (1, 1)
    block = Bottleneck(4, 1)
    assert block.branch_end() is block.bn3


def test_the_branch_is_left_out_at_random_in_training_only():
    block = BasicBlock(4, 4, stochastic_depth=0.5)
    x = torch.randn(64, 4, 5, 5)
    gone = (block(x) == x.clamp(min=0)).flatten(1).all(1)
    assert 10 < gone.sum() < 54
    assert not (block.eval()(x) == x.clamp(min=0)).flatten(1).all(1).any()


@pytest.mark.parametrize(
    ("channels", "groups", "width_per_group", "width"),
    [(64, 1, 64, 64), (512, 1, 128, 1024), (64, 32, 4, 128), (512, 32, 8, 2048), (16, 1, 64, 16)],
)
def test_the_width_inside_a_bottleneck_grows_with_its_stage(
    channels, groups, width_per_group, width
):
    assert bottleneck_width(channels, groups, width_per_group) == width
