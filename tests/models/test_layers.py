import pytest
import torch
from torch import nn

from reslab.catalog import nets
from reslab.errors import UserError
from reslab.models.layers import (
    ACTIVATIONS,
    NORMS,
    convolution,
    find_activation,
    find_norm,
    group_norm,
    no_norm,
)


def test_every_name_of_the_catalogue_has_a_layer():
    assert set(NORMS) == set(nets.Norm.__args__)
    assert set(ACTIVATIONS) == set(nets.Activation.__args__)


@pytest.mark.parametrize("kernel", [1, 3, 7])
def test_a_convolution_keeps_the_size_and_has_no_bias(kernel):
    layer = convolution(2, 5, kernel)
    assert layer(torch.zeros(1, 2, 7, 4)).shape == (1, 5, 7, 4)
    assert layer.bias is None
    assert convolution(2, 5, kernel, 2)(torch.zeros(1, 2, 7, 4)).shape == (1, 5, 4, 2)


def test_a_convolution_has_a_bias_only_where_there_is_no_norm():
    assert convolution(2, 4, 3, norm=no_norm).bias is not None
    assert convolution(2, 4, 3, norm=nn.BatchNorm2d).bias is None
    assert convolution(2, 4, 3, groups=2).weight.shape == (4, 1, 3, 3)


@pytest.mark.parametrize(
    ("channels", "groups"), [(64, 32), (2048, 32), (80, 16), (16, 8), (32, 8), (12, 4), (7, 1)]
)
def test_group_norm_has_32_groups_or_what_divides_the_channels(channels, groups):
    assert group_norm(channels).num_groups == groups
    x = torch.randn(2, channels, 5, 5) * 3 + 1
    by_hand = x.view(2, groups, -1)
    by_hand = (by_hand - by_hand.mean(2, keepdim=True)) / by_hand.std(2, False, keepdim=True)
    torch.testing.assert_close(group_norm(channels)(x), by_hand.view_as(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("relu", lambda x: x.clamp(min=0)),
        ("leaky_relu", lambda x: torch.where(x > 0, x, 0.01 * x)),
        ("elu", lambda x: torch.where(x > 0, x, x.exp() - 1)),
        ("gelu", lambda x: x * 0.5 * (1 + torch.erf(x / 2**0.5))),
        ("silu", lambda x: x / (1 + (-x).exp())),
        ("tanh", lambda x: (x.exp() - (-x).exp()) / (x.exp() + (-x).exp())),
        ("sigmoid", lambda x: 1 / (1 + (-x).exp())),
    ],
)
def test_an_activation_is_what_its_name_says(name, formula):
    x = torch.linspace(-3, 3, 41, dtype=torch.float64)
    torch.testing.assert_close(find_activation(name)()(x.clone()), formula(x))


def test_a_maker_of_ones_own_is_taken_as_it_is():
    assert find_norm(nn.InstanceNorm2d) is nn.InstanceNorm2d
    assert find_activation(nn.Mish) is nn.Mish


def test_unknown_names_are_refused():
    with pytest.raises(UserError, match=r"unknown norm 'bach'; did you mean 'batch'"):
        find_norm("bach")
    with pytest.raises(UserError, match=r"unknown activation 'rely'; did you mean 'relu'"):
        find_activation("rely")
