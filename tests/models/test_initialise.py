import pytest
import torch
from torch import nn

from reslab.catalog import nets
from reslab.errors import UserError
from reslab.models.initialise import SCHEMES, initialise, silence

FAN_IN, FAN_OUT = 32 * 9, 48 * 9


def drawn(scheme):
    torch.manual_seed(0)
    layer = nn.Conv2d(32, 48, 3)
    initialise(nn.Sequential(layer), scheme)
    return layer


def test_every_name_of_the_catalogue_is_a_scheme():
    assert set(SCHEMES) == set(nets.Initialisation.__args__)


@pytest.mark.parametrize(
    ("scheme", "variance"),
    [
        ("kaiming_fan_out", 2 / FAN_OUT),
        ("kaiming_fan_in", 2 / FAN_IN),
        ("xavier", 2 / (FAN_IN + FAN_OUT)),
        ("lecun", 1 / FAN_IN),
        ("gaussian", 1e-4),
        # Rows of length one over fan-in numbers, times two.
        ("orthogonal", 2 / FAN_IN),
    ],
)
def test_the_spread_is_that_of_the_source(scheme, variance):
    weight = drawn(scheme).weight
    n = weight.numel()
    # Six standard errors of a sample's variance, generous for what is not normal.
    assert weight.var().item() == pytest.approx(variance, rel=6 * (2 / n) ** 0.5)
    assert abs(weight.mean().item()) < 6 * (variance / n) ** 0.5


def test_orthogonal_filters_are_orthogonal_and_xavier_is_bounded():
    rows = drawn("orthogonal").weight.flatten(1)
    torch.testing.assert_close(rows @ rows.T, 2 * torch.eye(48), rtol=1e-4, atol=1e-5)
    assert drawn("xavier").weight.abs().max() <= (6 / (FAN_IN + FAN_OUT)) ** 0.5


@pytest.mark.parametrize("scheme", SCHEMES)
def test_biases_start_at_zero_and_other_layers_stay(scheme):
    assert (drawn(scheme).bias == 0).all()
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Linear(3, 3), nn.BatchNorm2d(1))
    before = [model[1].weight.clone(), model[2].weight.clone()]
    initialise(model, scheme)
    assert torch.equal(model[1].weight, before[0])
    assert torch.equal(model[2].weight, before[1])


def test_an_unknown_scheme_is_refused():
    with pytest.raises(UserError, match=r"unknown initialisation 'xaver'; did you mean 'xavier'"):
        initialise(nn.Conv2d(1, 1, 1), "xaver")


def test_a_silent_module_gives_zero():
    layer = nn.Conv2d(2, 2, 1)
    silence(layer)
    assert (layer(torch.randn(1, 2, 3, 3)) == 0).all()


def test_a_module_without_weights_cannot_be_silent():
    with pytest.raises(UserError, match=r"no weights at the end .*: received BatchNorm2d"):
        silence(nn.BatchNorm2d(2, affine=False))
