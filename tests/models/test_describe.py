import pytest
from torch import nn

from reslab.models.create import create_model
from reslab.models.describe import describe_layers
from reslab.models.layers import group_norm
from reslab.models.preact import PreActivation


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (nn.Conv2d(3, 64, 7, 2), "7x7, 64, stride 2"),
        (nn.Conv2d(4, 8, (1, 3), groups=2), "1x3, 8, 2 groups"),
        (nn.MaxPool2d(3, 2), "3x3 max pool, stride 2"),
        (nn.AdaptiveAvgPool2d(1), "global average pool"),
        (nn.Linear(2, 5), "fully connected, 5"),
        (nn.Dropout(0.25), "dropout 0.25"),
        (nn.Dropout(0.0), ""),
        (nn.Identity(), ""),
        (nn.BatchNorm2d(3), "batch norm"),
        (group_norm(8), "group norm"),
        (nn.Mish(), "Mish"),
        (PreActivation(4, nn.BatchNorm2d, nn.ReLU), "batch norm, ReLU"),
        (PreActivation(4, nn.Identity, nn.Tanh), "Tanh"),
    ],
)
def test_layers_are_told_in_a_few_words(layer, text):
    assert describe_layers(layer) == text


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("resnet34", {}, "4 x [3x3, 128; 3x3, 128], stride 2 in the first 3x3"),
        ("resnet50", {}, "4 x [1x1, 128; 3x3, 128; 1x1, 512], stride 2 in the first 3x3"),
        (
            "resnet50",
            {"stride_in_1x1": True},
            "4 x [1x1, 128; 3x3, 128; 1x1, 512], stride 2 in the first 1x1",
        ),
        ("plain18", {}, "2 x [3x3, 128; 3x3, 128], stride 2 in the first 3x3"),
        ("preact_resnet18", {}, "2 x [3x3, 128; 3x3, 128], stride 2 in the first 3x3"),
        (
            "resnext50_32x4d",
            {"shortcut": "C"},
            "4 x [1x1, 256; 3x3, 256, 32 groups; 1x1, 512], stride 2 in the first 3x3",
        ),
    ],
)
def test_a_stage_reads_as_in_the_papers_table(name, options, text):
    assert describe_layers(create_model(name, **options).layer2) == text


def test_the_first_stage_has_no_stride():
    assert describe_layers(create_model("resnet18").layer1) == "2 x [3x3, 64; 3x3, 64]"
