import pytest
import torch
import torch.nn.functional as F
from torch import nn

from reslab.catalog.nets import SHORTCUTS
from reslab.errors import UserError
from reslab.models.blocks import (
    BLOCKS,
    BasicBlock,
    PaddedIdentity,
    conv3x3,
    make_shortcut,
)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_conv3x3_keeps_the_size_and_has_no_bias():
    layer = conv3x3(2, 5)
    assert layer(torch.zeros(1, 2, 7, 4)).shape == (1, 5, 7, 4)
    assert layer.kernel_size == (3, 3)
    assert layer.bias is None
    assert conv3x3(2, 5, stride=2).stride == (2, 2)


def test_shortcut_a_takes_every_second_pixel_and_appends_zero_channels():
    x = torch.randn(2, 3, 5, 6)
    out = PaddedIdentity(3, 7, 2)(x)
    expected = torch.zeros(2, 7, 3, 3)
    for row in range(3):
        for column in range(3):
            expected[:, :3, row, column] = x[:, :, 2 * row, 2 * column]
    assert torch.equal(out, expected)
    assert not list(PaddedIdentity(3, 7, 2).parameters())


def test_shortcut_b_is_a_strided_1x1_convolution_and_batch_norm():
    shortcut = make_shortcut("B", 3, 4, 2).eval()
    x = torch.randn(2, 3, 5, 5)
    weight = shortcut[0].weight
    assert weight.shape == (4, 3, 1, 1)
    by_hand = torch.einsum("nchw,kc->nkhw", x[:, :, ::2, ::2], weight[:, :, 0, 0])
    by_hand = by_hand / (1 + shortcut[1].eps) ** 0.5
    torch.testing.assert_close(shortcut(x), by_hand, rtol=1e-5, atol=1e-6)


def test_shortcut_conv3x3_is_a_3x3_convolution_and_batch_norm():
    shortcut = make_shortcut("conv3x3", 3, 4, 2)
    assert [type(part) for part in shortcut] == [nn.Conv2d, nn.BatchNorm2d]
    assert shortcut[0].weight.shape == (4, 3, 3, 3)
    assert shortcut[0].stride == (2, 2)
    assert shortcut[0].bias is None
    assert shortcut[1].num_features == 4


@pytest.mark.parametrize("kind", SHORTCUTS)
def test_nothing_stands_on_the_shortcut_where_the_shape_stays(kind):
    assert make_shortcut(kind, 4, 4, 1) is None


@pytest.mark.parametrize("kind", [kind for kind in SHORTCUTS if kind != "none"])
@pytest.mark.parametrize(("channels", "stride"), [(4, 2), (6, 1), (6, 2)])
def test_a_shortcut_stands_where_the_shape_changes(kind, channels, stride):
    shortcut = make_shortcut(kind, 4, channels, stride)
    size = 8 // stride
    assert shortcut(torch.zeros(1, 4, 8, 8)).shape == (1, channels, size, size)


def test_an_unknown_shortcut_is_refused_with_those_that_exist():
    with pytest.raises(UserError, match=r"unknown shortcut 'C': expected one of A, B, conv3x3"):
        make_shortcut("C", 4, 8, 2)


def test_shortcut_a_cannot_reduce_channels():
    with pytest.raises(UserError, match=r"cannot reduce 8 channels to 4; use shortcut B"):
        make_shortcut("A", 8, 4, 1)


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
    nn.init.zeros_(block.last_norm().weight)
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


def test_the_catalogue_of_blocks_names_them():
    assert BLOCKS["basic"] is BasicBlock
    assert len(set(BLOCKS.values())) == len(BLOCKS)
