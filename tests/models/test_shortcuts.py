import pytest
import torch
from torch import nn

from reslab.catalog.nets import SHORTCUTS
from reslab.errors import UserError
from reslab.models.layers import no_norm
from reslab.models.shortcuts import PaddedIdentity, make_shortcut

BN = nn.BatchNorm2d


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


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
    shortcut = make_shortcut("B", 3, 4, 2, BN).eval()
    x = torch.randn(2, 3, 5, 5)
    weight = shortcut[0].weight
    assert weight.shape == (4, 3, 1, 1)
    by_hand = torch.einsum("nchw,kc->nkhw", x[:, :, ::2, ::2], weight[:, :, 0, 0])
    by_hand = by_hand / (1 + shortcut[1].eps) ** 0.5
    torch.testing.assert_close(shortcut(x), by_hand, rtol=1e-5, atol=1e-6)


def test_shortcut_conv3x3_is_a_3x3_convolution_and_batch_norm():
    shortcut = make_shortcut("conv3x3", 3, 4, 2, BN)
    assert [type(part) for part in shortcut] == [nn.Conv2d, nn.BatchNorm2d]
    assert shortcut[0].weight.shape == (4, 3, 3, 3)
    assert shortcut[0].stride == (2, 2)
    assert shortcut[0].bias is None
    assert shortcut[1].num_features == 4


@pytest.mark.parametrize("kind", [kind for kind in SHORTCUTS if kind != "C"])
def test_nothing_stands_on_the_shortcut_where_the_shape_stays(kind):
    assert make_shortcut(kind, 4, 4, 1, BN) is None


def test_shortcut_c_projects_even_where_the_shape_stays():
    kept, changed = make_shortcut("C", 4, 4, 1, BN), make_shortcut("C", 4, 8, 2, BN)
    assert [type(part) for part in kept] == [nn.Conv2d, nn.BatchNorm2d]
    assert kept[0].weight.shape == (4, 4, 1, 1)
    assert (changed[0].weight.shape, changed[0].stride) == ((8, 4, 1, 1), (2, 2))


def test_without_norm_the_projection_stands_alone_or_has_the_bias_that_a_norm_would_give():
    alone = make_shortcut("B", 4, 8, 2)
    assert isinstance(alone, nn.Conv2d) and alone.bias is None
    normless = make_shortcut("B", 4, 8, 2, no_norm)
    assert normless[0].bias is not None
    assert isinstance(normless[1], nn.Identity)


@pytest.mark.parametrize("kind", [kind for kind in SHORTCUTS if kind != "none"])
@pytest.mark.parametrize(("channels", "stride"), [(4, 2), (6, 1), (6, 2)])
def test_a_shortcut_stands_where_the_shape_changes(kind, channels, stride):
    shortcut = make_shortcut(kind, 4, channels, stride, BN)
    size = 8 // stride
    assert shortcut(torch.zeros(1, 4, 8, 8)).shape == (1, channels, size, size)


def test_an_unknown_shortcut_is_refused_with_those_that_exist():
    with pytest.raises(UserError, match=r"unknown shortcut 'D': expected one of A, B, C, conv3x3"):
        make_shortcut("D", 4, 8, 2)


def test_shortcut_a_cannot_reduce_channels():
    with pytest.raises(UserError, match=r"cannot reduce 8 channels to 4; use shortcut B"):
        make_shortcut("A", 8, 4, 1)
