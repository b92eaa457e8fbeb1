import re

import pytest
import torch

from reslab.catalog.nets import NETS
from reslab.errors import UserError
from reslab.models.create import create_model, find_net, list_models


def count(model):
    return sum(p.numel() for p in model.parameters())


def build(name, **options):
    with torch.device("meta"):
        return create_model(name, **options)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("resnet18", 11_689_512),
        ("resnet34", 21_797_672),
        ("resnet50", 25_557_032),
        ("resnet101", 44_549_160),
        ("resnet152", 60_192_808),
        ("wide_resnet50_2", 68_883_240),
        ("wide_resnet101_2", 126_886_696),
        ("resnext50_32x4d", 25_028_904),
        ("resnext101_32x8d", 88_791_336),
        ("resnext101_64x4d", 83_455_272),
    ],
)
def test_imagenet_nets_have_the_published_number_of_parameters(name, parameters):
    assert count(build(name)) == parameters


@pytest.mark.parametrize(
    ("name", "n", "millions"),
    [
        ("resnet20", 3, "0.27"),
        ("resnet32", 5, "0.46"),
        ("resnet44", 7, "0.66"),
        ("resnet56", 9, "0.85"),
        ("resnet110", 18, "1.7"),
        ("resnet1202", 200, "19.4"),
    ],
)
def test_cifar_nets_have_the_parameters_of_table_6(name, n, millions):
    total = count(build(name))
    assert f"{total / 1e6:.{len(millions.split('.')[1])}f}" == millions
    # Written out: stem, three stages of 2n convolutions with their norms, head.
    stages = sum(
        9 * before * width + (2 * n - 1) * 9 * width**2 + 2 * n * 2 * width
        for before, width in ((16, 16), (16, 32), (32, 64))
    )
    assert total == 9 * 3 * 16 + 2 * 16 + stages + 64 * 10 + 10


@pytest.mark.parametrize("n", [14, 20, 32, 44, 56, 110])
def test_a_plain_twin_has_exactly_the_weights_of_its_residual_net(n):
    plain, residual = build(f"plain{n}"), build(f"resnet{n}")
    shapes = [{k: v.shape for k, v in m.state_dict().items()} for m in (plain, residual)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("name", ["plain18", "plain34"])
def test_a_plain_imagenet_net_has_no_projection(name):
    assert not [key for key in build(name).state_dict() if "downsample" in key]


@pytest.mark.parametrize("net", NETS, ids=lambda net: net.name)
def test_the_weighted_layers_are_as_many_as_the_name_says(net):
    """Convolutions off the shortcut, and the head."""
    weights = [
        key
        for key, tensor in build(net.name).state_dict().items()
        if tensor.ndim >= 2 and "downsample" not in key
    ]
    assert len(weights) == int(re.search(r"\d+", net.name)[0])


def test_options_reach_the_net():
    model = create_model(
        "resnet14",
        num_classes=4,
        in_channels=1,
        stem="imagenet",
        shortcut="conv3x3",
        zero_init_residual=True,
    )
    assert model.fc.out_features == 4
    assert model.conv1.weight.shape == (16, 1, 7, 7)
    assert model.layer2[0].downsample[0].kernel_size == (3, 3)
    assert (model.layer1[0].bn2.weight == 0).all()


def test_without_options_the_net_is_the_published_one():
    model = build("resnet20")
    assert model.fc.out_features == 10
    assert model.conv1.weight.shape == (16, 3, 3, 3)
    assert model.layer2[0].downsample is not None and not [*model.layer2[0].downsample.parameters()]
    assert build("resnet18").fc.out_features == 1000


def test_zero_classes_are_refused_and_not_taken_for_the_default():
    with pytest.raises(UserError, match="num_classes must be"):
        create_model("resnet14", num_classes=0)


def test_the_same_seed_gives_the_same_weights():
    states = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        states.append(create_model("resnet14").state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not torch.equal(states[0]["conv1.weight"], states[2]["conv1.weight"])


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UserError, match=r"unknown net 'resnet21'; did you mean 'resnet2?"):
        create_model("resnet21")


def test_find_net_gives_the_entry_of_the_table():
    assert find_net("plain34").depths == (3, 4, 6, 3)
    with pytest.raises(UserError, match="unknown net"):
        find_net("")


def test_list_models_filters_by_pattern_in_the_order_of_the_table():
    assert list_models() == [net.name for net in NETS]
    assert list_models("plain?4") == ["plain34", "plain14", "plain44"]
    assert list_models("RESNET*") == []
