import pytest
import torch
import torch.nn.functional as F
from torch import nn

from reslab.catalog.nets import SHORTCUTS
from reslab.models.layers import no_norm
from reslab.models.preact import PreActBasicBlock, PreActBottleneck, PreActivation

BLOCKS = [PreActBasicBlock, PreActBottleneck]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def norm(x, module):
    mean = x.mean((0, 2, 3), keepdim=True)
    var = ((x - mean) ** 2).mean((0, 2, 3), keepdim=True)
    scale, shift = module.weight.view(1, -1, 1, 1), module.bias.view(1, -1, 1, 1)
    return (x - mean) / (var + 1e-5).sqrt() * scale + shift


def with_odd_norms(block):
    """Scales and shifts that are not those of a new norm."""
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
    return block.double()


@pytest.mark.parametrize("shortcut", SHORTCUTS)
@pytest.mark.parametrize("preactivate", [True, False])
@pytest.mark.parametrize("make", BLOCKS)
def test_the_block_is_shortcut_plus_branch_of_the_activated_input(make, preactivate, shortcut):
    block = with_odd_norms(make(3, 4, stride=2, shortcut=shortcut, preactivate=preactivate))
    x = torch.randn(4, block.conv1.in_channels, 7, 7, dtype=torch.float64)
    before = x.clone()
    a = norm(x, block.pre1.norm).clamp(min=0) if preactivate else x
    if make is PreActBasicBlock:
        branch = F.conv2d(a, block.conv1.weight, stride=2, padding=1)
    else:
        branch = F.conv2d(a, block.conv1.weight)
    branch = norm(branch, block.pre2.norm).clamp(min=0)
    stride = 1 if make is PreActBasicBlock else 2
    branch = F.conv2d(branch, block.conv2.weight, stride=stride, padding=1)
    if make is PreActBottleneck:
        branch = F.conv2d(norm(branch, block.pre3.norm).clamp(min=0), block.conv3.weight)
    match shortcut:
        case "none":
            side = torch.zeros_like(branch)
        case "A":
            side = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, branch.shape[1] - x.shape[1]))
        case _:
            weight = block.downsample.weight
            side = F.conv2d(a, weight, stride=2, padding=weight.shape[-1] // 2)
    torch.testing.assert_close(block(x), branch + side, rtol=1e-10, atol=1e-12)
    assert torch.equal(x, before)


@pytest.mark.parametrize("shortcut", [kind for kind in SHORTCUTS if kind not in ("C", "none")])
@pytest.mark.parametrize("make", BLOCKS)
def test_with_its_last_convolution_zero_a_block_returns_its_input_exactly(make, shortcut):
    block = make(8, 8 if make is PreActBasicBlock else 2, shortcut=shortcut)
    nn.init.zeros_(block.branch_end().weight)
    x = torch.randn(2, 8, 5, 5)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize("make", BLOCKS)
def test_the_derivative_of_a_silent_block_is_the_identity(make):
    block = make(4, 4 if make is PreActBasicBlock else 1).double()
    nn.init.zeros_(block.branch_end().weight)
    x = torch.randn(1, 4, 3, 3, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(block.eval(), x).view(x.numel(), -1)
    assert torch.equal(jacobian, torch.eye(x.numel(), dtype=torch.float64))


@pytest.mark.parametrize("make", BLOCKS)
def test_the_input_survives_where_no_norm_copies_it(make):
    block = make(4, 4 if make is PreActBasicBlock else 1, norm=no_norm)
    x = torch.randn(2, 4, 5, 5)
    before = x.clone()
    block(x)
    assert torch.equal(x, before)


def test_the_bottleneck_is_narrow_inside_and_can_stride_in_its_first_convolution():
    block = PreActBottleneck(16, 8, stride=2, groups=2, width_per_group=32, stride_in_1x1=True)
    assert (block.conv1.out_channels, block.conv2.groups, block.out_channels) == (8, 2, 32)
    assert (block.conv1.stride, block.conv2.stride) == ((2, 2), (1, 1))
    assert PreActBottleneck(16, 8, stride=2).conv2.stride == (2, 2)


def test_pre_activation_normalises_first():
    layer = PreActivation(3, nn.BatchNorm2d, nn.Tanh)
    x = torch.randn(4, 3, 5, 5) * 3 + 1
    torch.testing.assert_close(layer(x), norm(x, layer.norm).tanh(), rtol=1e-4, atol=1e-5)
