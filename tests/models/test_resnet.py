import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from reslab.catalog.nets import SHORTCUTS
from reslab.errors import UserError
from reslab.models.blocks import BasicBlock, Block, Bottleneck
from reslab.models.layers import ACTIVATIONS
from reslab.models.preact import PreActBasicBlock, PreActBottleneck
from reslab.models.resnet import ResNet

TINY = {"num_classes": 3, "in_channels": 3, "stem": "small"}


def tiny(depths=(1, 1), widths=(4, 8), **options):
    torch.manual_seed(0)
    return ResNet(BasicBlock, depths, widths, **(TINY | options))


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("stem", ["imagenet", "small"])
def test_any_number_of_channels_and_an_oblong_image(channels, stem):
    model = tiny(in_channels=channels, stem=stem)
    assert model(torch.randn(2, channels, 33, 18)).shape == (2, 3)
    assert model.conv1.in_channels == channels


@pytest.mark.parametrize(
    ("stem", "kernel", "first_stage", "last_stage"),
    [("imagenet", 7, (8, 8), (4, 4)), ("small", 3, (32, 32), (16, 16))],
)
def test_the_stem_decides_the_size_of_the_first_stage(stem, kernel, first_stage, last_stage):
    model = tiny(stem=stem)
    seen = {}
    for name in ("layer1", "layer2"):
        model.get_submodule(name).register_forward_hook(
            lambda _, __, out, name=name: seen.update({name: tuple(out.shape)})
        )
    model(torch.randn(2, 3, 32, 32))
    assert model.conv1.kernel_size == (kernel, kernel)
    assert seen == {"layer1": (2, 4, *first_stage), "layer2": (2, 8, *last_stage)}


@pytest.mark.parametrize("shortcut", SHORTCUTS)
@pytest.mark.parametrize("size", [(9, 7), (8, 5)])
def test_odd_sizes_pass_every_shortcut(shortcut, size):
    model = tiny((1, 1, 1), (4, 8, 16), shortcut=shortcut)
    assert model(torch.randn(2, 3, *size)).shape == (2, 3)


def test_only_the_first_block_of_later_stages_has_stride_2():
    model = tiny((2, 3), (4, 8))
    strides = [
        [block.conv1.stride[0] for block in model.get_submodule(name)] for name in model.stage_names
    ]
    assert strides == [[1, 1], [2, 1, 1]]


def test_plain_nets_have_the_weights_of_option_a_and_no_addition():
    plain, residual = (tiny(shortcut=shortcut) for shortcut in ("none", "A"))
    residual.load_state_dict(plain.state_dict(), strict=True)
    x = torch.randn(4, 3, 8, 8)
    # With every branch silenced a plain net cannot see its input, a residual one can.
    for model in (plain, residual):
        for module in model.modules():
            if isinstance(module, BasicBlock):
                nn.init.zeros_(module.branch_end().weight)
        model.eval()
    assert torch.equal(plain(x), plain(-x))
    assert not torch.equal(residual(x), residual(-x))


def test_zero_init_residual_makes_each_identity_block_relu():
    model = tiny((2, 2), (4, 8), zero_init_residual=True)
    for index, channels in ((1, 4), (2, 8)):
        x = torch.randn(2, channels, 6, 6)
        block = model.get_submodule(f"layer{index}")[1]
        assert torch.equal(block(x), F.relu(x))
    ordinary = tiny((2, 2), (4, 8))
    assert all((m.weight == 1).all() for m in ordinary.modules() if isinstance(m, nn.BatchNorm2d))
    # The norm of the projection is not the branch's.
    assert (model.layer2[0].downsample[1].weight == 1).all()


def test_convolutions_start_with_the_fan_out_spread():
    torch.manual_seed(0)
    model = ResNet(BasicBlock, (1, 1), (64, 128), **TINY)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] ** 2
            spread = (2 / fan_out) ** 0.5
            n = module.weight.numel()
            # Five standard errors of a normal sample's standard deviation.
            assert module.weight.std().item() == pytest.approx(spread, rel=5 / (2 * n) ** 0.5)
            assert abs(module.weight.mean().item()) < 5 * spread / n**0.5


def test_it_is_an_ordinary_fp32_contiguous_module_and_follows_the_seed():
    model = tiny()
    assert all(p.dtype == torch.float32 and p.is_contiguous() for p in model.parameters())
    for p, q in zip(model.parameters(), tiny().parameters(), strict=True):
        assert torch.equal(p, q)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"depths": ()}, r"depths must be whole numbers of at least 1: received \[\]"),
        ({"depths": (1, 0)}, r"depths must be whole numbers of at least 1: received \[1, 0\]"),
        ({"widths": (4, 0.5)}, r"widths must be .*: received \[4, 0.5\]"),
        ({"num_classes": 0}, r"num_classes must be .*: received \[0\]"),
        ({"in_channels": -1}, r"in_channels must be .*: received \[-1\]"),
        ({"depths": (1, 1, 1)}, r"same stages: received 3 depths and 2 widths"),
        ({"stem": "big"}, r"unknown stem 'big': expected one of imagenet, small"),
        ({"shortcut": "D"}, r"unknown shortcut 'D': expected one of A, B, C, conv3x3, none"),
        (
            {"shortcut": "none", "zero_init_residual": True},
            r"needs a shortcut: received shortcut none.*; turn zero_init_residual off",
        ),
        (
            {"shortcut": "none", "stochastic_depth": 0.1},
            r"stochastic_depth needs a shortcut: .*; turn stochastic_depth off",
        ),
        ({"dropout": 1.0}, r"dropout must be a probability below 1: .*, received 1.0"),
        ({"dropout": float("nan")}, r"dropout must be a probability below 1: .*, received nan"),
        ({"stochastic_depth": -0.1}, r"stochastic_depth must be .*: .*, received -0.1"),
        ({"norm": "layer"}, r"unknown norm 'layer': expected one of batch, group, none"),
        ({"activation": "softmax"}, r"unknown activation 'softmax'"),
        ({"initialisation": "zero"}, r"unknown initialisation 'zero'"),
    ],
)
def test_what_cannot_be_built_is_refused(change, text):
    with pytest.raises(UserError, match=text):
        tiny(**change)


@pytest.mark.parametrize(
    ("block", "width"),
    [(BasicBlock, 8), (Bottleneck, 32), (PreActBasicBlock, 8), (PreActBottleneck, 32)],
)
class TestEveryKindOfBlock:
    def test_features_embedding_and_logits_are_stages_of_one_forward(self, block, width):
        torch.manual_seed(0)
        model = ResNet(block, (2, 1), (4, 8), **TINY).eval()
        x = torch.randn(2, 3, 8, 10)
        features = model.features(x)
        assert {name: tuple(t.shape) for name, t in features.items()} == {
            "stem": (2, 4, 8, 10),
            "layer1": (2, width // 2, 8, 10),
            "layer2": (2, width, 4, 5),
        }
        last = features["layer2"]
        pooled = model.post(last).mean((2, 3))
        torch.testing.assert_close(model.embed(x), pooled)
        torch.testing.assert_close(model(x), F.linear(pooled, model.fc.weight, model.fc.bias))
        assert torch.equal(features["layer1"], model.layer1(features["stem"]))

    def test_segments_change_neither_logits_nor_gradients(self, block, width):
        torch.manual_seed(0)
        kept = ResNet(
            block,
            (3, 2),
            (4, 8),
            dropout=0.3,
            stochastic_depth=0.4,
            **TINY,
        ).train()
        spared = copy.deepcopy(kept)
        spared.checkpoint_activations(4)
        assert sum(len(stage.segments) for stage in spared.stages()) > 2
        x = torch.randn(4, 3, 8, 8)
        for model in (kept, spared):
            torch.manual_seed(1)
            F.cross_entropy(model(x), torch.tensor([0, 1, 2, 0])).backward()
        for p, q in zip(kept.parameters(), spared.parameters(), strict=True):
            assert torch.equal(p.grad, q.grad)
        for p, q in zip(kept.buffers(), spared.buffers(), strict=True):
            assert torch.equal(p, q)

    def test_it_learns_without_norm_and_with_every_activation(self, block, width):
        for activation in ACTIVATIONS:
            torch.manual_seed(0)
            model = ResNet(
                block,
                (1, 1),
                (4, 8),
                norm="none",
                activation=activation,
                **TINY,
            )
            assert not list(model.buffers())
            F.cross_entropy(model(torch.randn(4, 3, 8, 8)), torch.tensor([0, 1, 2, 0])).backward()
            assert all((p.grad != 0).any() for p in model.parameters()), activation


def test_pre_activation_nets_activate_once_after_the_stem_and_once_at_the_end():
    model = ResNet(PreActBasicBlock, (2, 1), (4, 8), **TINY)
    assert isinstance(model.layer1[0].pre1, nn.Identity)
    assert isinstance(model.layer1[1].pre1.norm, nn.BatchNorm2d)
    assert isinstance(model.layer2[0].pre1.norm, nn.BatchNorm2d)
    assert model.post.norm.num_features == 8


def test_zero_initialisation_silences_every_branch_of_every_kind():
    for block, norm in (
        (Bottleneck, "batch"),
        (PreActBottleneck, "batch"),
        (BasicBlock, "none"),
        (PreActBasicBlock, "none"),
    ):
        model = ResNet(
            block,
            (2,),
            (4,),
            norm=norm,
            zero_init_residual=True,
            **TINY,
        )
        x = torch.rand(2, model.layer1[1].out_channels, 5, 5)
        torch.testing.assert_close(model.layer1[1](x), x)


def test_stochastic_depth_grows_in_a_straight_line_with_the_block():
    model = tiny((2, 3), (4, 8), stochastic_depth=0.5)
    rates = [block.stochastic_depth.probability for stage in model.stages() for block in stage]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])


def test_dropout_stands_before_the_head_and_in_training_only():
    model = tiny(dropout=0.5)
    seen = []
    model.fc.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    x = torch.randn(64, 3, 8, 8)
    model.train()(x)
    embedded = model.eval().embed(x)
    model(x)
    dropped = (seen[0] == 0) & (embedded != 0)
    assert 0.3 < dropped.float().mean() < 0.7
    assert torch.equal(seen[1], embedded)


def test_norms_and_activations_of_ones_own_are_used_throughout():
    model = tiny(norm=nn.InstanceNorm2d, activation=nn.Mish)
    kinds = {type(module) for module in model.modules()}
    assert {nn.InstanceNorm2d, nn.Mish} <= kinds
    assert not {nn.BatchNorm2d, nn.ReLU} & kinds


def test_a_block_of_ones_own_needs_no_fork():
    class Scaled(Block):
        def __init__(self, in_channels, channels, stride, *, shortcut, norm, **others):
            super().__init__()
            self.out_channels = 3 * channels
            self.conv = nn.Conv2d(in_channels, 3 * channels, 1, stride)
            self.norm = norm(3 * channels)

        def forward(self, x):
            return self.norm(self.conv(x))

        def branch_end(self):
            return self.norm

    model = ResNet(Scaled, (1, 2, 1), (4, 5, 6), zero_init_residual=True, **TINY)
    assert model.fc.in_features == 18
    assert (model.layer2[1].norm.weight == 0).all()
    model.checkpoint_activations(4)
    assert model(torch.randn(2, 3, 9, 9)).shape == (2, 3)


def test_a_new_head_lies_where_the_old_one_did():
    model = tiny().double()
    body = model.layer1[0].conv1.weight
    model.replace_head(9)
    assert (model.fc.weight.shape, model.fc.weight.dtype) == ((9, 8), torch.float64)
    assert model.layer1[0].conv1.weight is body
    assert model(torch.randn(2, 3, 8, 8, dtype=torch.float64)).shape == (2, 9)
    with pytest.raises(UserError, match=r"num_classes must be .*: received \[0\]"):
        model.replace_head(0)


def test_segments_are_the_root_of_what_is_kept_and_shorter_where_images_are_larger():
    model = ResNet(BasicBlock, (16, 16, 16), (4, 8, 16), **TINY)
    assert all(stage.segments == () for stage in model.stages())
    model.checkpoint_activations()
    sizes = [stage.segments for stage in model.stages()]
    assert [sum(s) for s in sizes] == [16, 16, 16]
    # Two activations for each of two convolutions in 48 blocks: the root of 192.
    assert 11 <= sum(map(len, sizes)) <= 13
    # Each stage has half as many numbers a block as the one before.
    assert len(sizes[0]) > len(sizes[1]) >= len(sizes[2])
    model.checkpoint_activations(0)
    assert all(stage.segments == () for stage in model.stages())
    for wrong in (-1, 2.5, True, "x"):
        with pytest.raises(UserError, match=f"whole number of at least 0: received {wrong!r}"):
            model.checkpoint_activations(wrong)


@pytest.mark.parametrize("block", [BasicBlock, PreActBasicBlock])
@pytest.mark.parametrize("segments", [0, 2])
def test_the_compiler_takes_the_whole_net_in_one_piece(block, segments):
    torch.manual_seed(0)
    model = ResNet(block, (2, 1), (4, 8), **TINY).train()
    compiled = copy.deepcopy(model)
    compiled.checkpoint_activations(segments)
    torch._dynamo.reset()
    # aot_eager traces forward and backward without the minutes of generating code.
    traced = torch.compile(compiled, backend="aot_eager", fullgraph=True, dynamic=False)
    x = torch.randn(4, 3, 8, 8)
    for net in (model, traced):
        F.cross_entropy(net(x), torch.tensor([0, 1, 2, 0])).backward()
    for (name, p), q in zip(model.named_parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-4, atol=1e-6, msg=name)
    for (name, p), q in zip(model.named_buffers(), compiled.buffers(), strict=True):
        torch.testing.assert_close(p, q, msg=name)


def test_the_net_can_be_exported_for_any_batch_and_gives_the_same():
    model = tiny().eval()
    x = torch.randn(2, 3, 8, 8)
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(model, (x,), dynamic_shapes=({0: batch},))
    other = torch.randn(5, 3, 8, 8)
    torch.testing.assert_close(program.module()(other), model(other))


@pytest.mark.parametrize(
    ("images", "text"),
    [
        (
            torch.zeros(2, 1, 8, 8),
            r"shape: expected \(N, 3, H, W\), received \(2, 1, 8, 8\); create the net with "
            "in_channels=1",
        ),
        (torch.zeros(2, 3, 0, 8), r"received \(2, 3, 0, 8\)$"),
        (torch.zeros(3, 8, 8), r"expected \(N, 3, H, W\), received \(3, 8, 8\); "),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), r"normalised images: .*received torch.uint8"),
    ],
)
def test_images_that_it_cannot_take_are_refused(images, text):
    model = tiny()
    for use in (model, model.embed, model.features):
        with pytest.raises(UserError, match=text):
            use(images)


class Own(Block):
    """A block that says no more than it must."""

    def __init__(self, in_channels, channels, stride, **options):
        super().__init__()
        self.out_channels = channels
        self.pool = nn.AdaptiveAvgPool2d(4)

    def forward(self, x):
        return self.pool(x)


def test_blocks_without_convolutions_are_cut_into_equal_segments():
    model = ResNet(Own, (6,), (4,), **TINY)
    model.checkpoint_activations(3)
    assert model.layer1.segments == (2, 2, 2)


def test_a_block_must_be_one_and_say_what_is_asked_of_it():
    with pytest.raises(UserError, match=r"derived from reslab.Block, received Conv2d"):
        ResNet(nn.Conv2d, (1,), (4,), **TINY)
    with pytest.raises(UserError, match=r"Own does not say where its residual branch ends"):
        ResNet(Own, (1,), (4,), zero_init_residual=True, **TINY)


def test_a_partial_of_a_block_is_one():
    model = ResNet(partial(PreActBottleneck, width_per_group=128), (1, 1), (4, 8), **TINY)
    assert isinstance(model.layer1[0].pre1, nn.Identity)
    assert model.layer1[0].conv2.out_channels == 8
