"""Every net of the catalogue through one suite, on the meta device where that is enough."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from reslab.catalog.nets import NETS
from reslab.errors import UserError
from reslab.models.blocks import Block
from reslab.models.cost import measure_cost
from reslab.models.create import create_model

NAMES = [net.name for net in NETS]
# Those that two images of 32 pixels pass in a moment.
SMALL = [net.name for net in NETS if sum(net.depths) <= 60]


def on_meta(name: str, **options: object) -> nn.Module:
    with torch.device("meta"):
        return create_model(name, **options)  # type: ignore[arg-type]


def shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("in_channels", [1, 3, 6])
def test_images_of_any_channels_become_logits(name: str, in_channels: int) -> None:
    model = on_meta(name, num_classes=7, in_channels=in_channels, stem="small").eval()
    images = torch.empty(2, in_channels, 9, 12, device="meta")
    assert model(images).shape == (2, 7)


@pytest.mark.parametrize("name", SMALL)
def test_features_are_named_after_the_stages(name: str) -> None:
    model = create_model(name, stem="small", num_classes=3).eval()
    with torch.no_grad():
        features = model.features(torch.randn(1, 3, 16, 16))
    assert list(features) == ["stem", *model.stage_names]
    sides = [tensor.shape[-1] for tensor in features.values()]
    assert sides == [16, *(16 // 2**i for i in range(len(model.stage_names)))]


@pytest.mark.parametrize("name", SMALL)
def test_each_option_changes_the_net_or_is_refused(name: str) -> None:
    net = next(net for net in NETS if net.name == name)
    plain = net.shortcut == "none"
    usual = on_meta(name)
    assert shapes(on_meta(name, norm="none")) != shapes(usual)
    assert {type(m) for m in on_meta(name, norm="group").modules()} >= {nn.GroupNorm}
    assert {type(m) for m in on_meta(name, activation="tanh").modules()} >= {nn.Tanh}
    assert on_meta(name, dropout=0.5).get_submodule("dropout").p == 0.5
    other = "small" if net.stem == "imagenet" else "imagenet"
    assert shapes(on_meta(name, stem=other)) != shapes(usual)
    with pytest.raises(UserError, match="unknown initialisation"):
        on_meta(name, initialisation="zeros")
    for shortcut in ("A", "B", "C", "conv3x3"):
        if plain:
            with pytest.raises(UserError, match="is a plain net"):
                on_meta(name, shortcut=shortcut)
        elif shortcut != net.shortcut:
            assert shapes(on_meta(name, shortcut=shortcut)) != shapes(usual)
    if plain:
        for option in ({"stochastic_depth": 0.5}, {"zero_init_residual": True}):
            with pytest.raises(UserError, match="needs a shortcut"):
                on_meta(name, **option)
    else:
        last = [m for m in on_meta(name, stochastic_depth=0.5).modules() if isinstance(m, Block)][
            -1
        ]
        assert last.get_submodule("stochastic_depth").probability == 0.5
    wide = shapes(on_meta(name, widen=2))
    assert wide.keys() == shapes(usual).keys() and wide["conv1.weight"][0] == 2 * net.widths[0]
    if "bottleneck" in net.block:
        strided = on_meta(name, stride_in_1x1=True).get_submodule("layer2.0.conv1")
        assert strided.stride == (2, 2)
    else:
        with pytest.raises(UserError, match="stride_in_1x1 has no meaning"):
            on_meta(name, stride_in_1x1=True)


@pytest.mark.parametrize("name", [name for name in SMALL if not name.startswith("plain")])
def test_with_silent_convolutions_identity_blocks_give_their_input(name: str) -> None:
    """With its last convolution zero a block gives its input; the original ones after a ReLU."""
    torch.manual_seed(0)
    model = create_model(name, num_classes=3)
    visited = 0
    for block in model.modules():
        if isinstance(block, Block) and block.downsample is None:
            visited += 1
            last = getattr(block, "conv3", None) or block.conv2
            nn.init.zeros_(last.weight)
            x = torch.randn(2, block.out_channels, 3, 3)
            expected = x if name.startswith("preact") else x.clamp(min=0)
            assert torch.equal(block(x), expected)
    net = next(net for net in NETS if net.name == name)
    # All but the first of a stage, whose shape changes; in the first stage only where
    # bottlenecks widen it.
    changes = len(net.depths) - (0 if "bottleneck" in net.block else 1)
    assert visited == sum(net.depths) - changes


@pytest.mark.parametrize("name", [n for n in NAMES if f"plain{n.removeprefix('resnet')}" in NAMES])
def test_a_plain_twin_has_exactly_the_parameters_of_its_option_a_net(name: str) -> None:
    twin = on_meta(f"plain{name.removeprefix('resnet')}")
    assert shapes(twin) == shapes(on_meta(name, shortcut="A"))


PAPER = {"resnet18": 1.8, "resnet34": 3.6, "resnet50": 3.8, "resnet101": 7.6, "resnet152": 11.3}


@pytest.mark.parametrize(("name", "giga"), PAPER.items())
def test_multiply_adds_are_those_of_table_1(name: str, giga: float) -> None:
    """Within 2 %, with the stride where the paper has it."""
    paper = {"stride_in_1x1": True} if name not in {"resnet18", "resnet34"} else {}
    macs = measure_cost(lambda: create_model(name, **paper), 3, 224).macs
    assert abs(macs / (giga * 1e9) - 1) <= 0.02


@pytest.mark.parametrize(
    ("name", "millions"), [("preact_resnet110", 1.7), ("preact_resnet164", 1.7)]
)
def test_pre_activation_nets_have_the_parameters_of_the_second_papers_table_4(
    name: str, millions: float
) -> None:
    total = sum(p.numel() for p in on_meta(name).parameters())
    assert round(total / 1e6, 1) == millions


def test_of_1001_layers_the_table_counts_convolutions_and_head() -> None:
    """10.2 M in the paper; with scales and shifts of all norms it is 10.3 M."""
    tensors = list(on_meta("preact_resnet1001").parameters())
    assert round(sum(p.numel() for p in tensors if p.ndim > 1) / 1e6, 1) == 10.2
    assert round(sum(p.numel() for p in tensors) / 1e6, 1) == 10.3


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_compiler_and_export_take_the_whole_net_in_one_piece(name: str) -> None:
    torch.manual_seed(0)
    model = create_model(name, num_classes=3, stem="small").eval()
    images = torch.randn(2, 3, 16, 16)
    torch._dynamo.reset()
    traced = torch.compile(model, backend="eager", fullgraph=True, dynamic=False)
    expected = model(images)
    torch.testing.assert_close(traced(images), expected)
    program = torch.export.export(model, (images,))
    torch.testing.assert_close(program.module()(images), expected)


@pytest.mark.parametrize("name", [name for name in SMALL if not name.startswith("plain")])
def test_initialisation_stochastic_depth_and_dropout_are_seen_in_the_logits(name: str) -> None:
    torch.manual_seed(1)
    images = torch.randn(8, 3, 16, 16)

    def logits(**options: object) -> torch.Tensor:
        torch.manual_seed(0)
        model = create_model(name, num_classes=3, stem="small", **options).train()  # type: ignore[arg-type]
        torch.manual_seed(2)
        with torch.no_grad():
            return model(images)

    usual = logits()
    assert torch.equal(usual, logits())
    for option in (
        {"initialisation": "xavier"},
        {"zero_init_residual": True},
        {"dropout": 0.5},
        {"stochastic_depth": 0.9},
    ):
        assert not torch.equal(usual, logits(**option)), option
