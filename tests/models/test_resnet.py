import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from reslab.catalog.nets import SHORTCUTS
from reslab.errors import UserError
from reslab.models.blocks import BasicBlock
from reslab.models.resnet import ResNet

TINY = {"num_classes": 3, "in_channels": 3, "stem": "small"}


def tiny(depths=(1, 1), widths=(4, 8), **options):
    torch.manual_seed(0)
    return ResNet(BasicBlock, depths, widths, **(TINY | options))


def randomise_norms(model):
    """Batch norm as training leaves it: no scale is one, no shift or mean is zero."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 2.0)


@pytest.fixture(scope="module", params=["resnet18", "resnet34"])
def pair(request):
    """Ours and torchvision's with the same weights, in fp64."""
    torch.manual_seed(1)
    theirs = getattr(torchvision.models, request.param)(num_classes=7)
    randomise_norms(theirs)
    depths = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}[request.param]
    with torch.device("meta"):
        ours = ResNet(BasicBlock, depths, (64, 128, 256, 512), num_classes=7)
    ours.load_state_dict(theirs.state_dict(), strict=True, assign=True)
    ours.double()  # copies, so that nothing is shared from here on
    return ours, theirs.double()


def relative_distance(a, b):
    return ((a - b).norm() / b.norm()).item()


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_logits_and_gradients_equal_torchvision(pair, training):
    ours, theirs = pair
    torch.manual_seed(2)
    images = torch.randn(2, 3, 47, 64, dtype=torch.float64)
    labels = torch.tensor([0, 6])
    logits = []
    for model in pair:
        model.train(training).zero_grad()
        logits.append(model(images))
        F.cross_entropy(logits[-1], labels).backward()
    assert relative_distance(*logits) < 1e-9
    for (name, p), (other, q) in zip(
        ours.named_parameters(), theirs.named_parameters(), strict=True
    ):
        assert name == other
        assert relative_distance(p.grad, q.grad) < 1e-9, name
    for (name, p), (other, q) in zip(ours.named_buffers(), theirs.named_buffers(), strict=True):
        assert name == other
        torch.testing.assert_close(p, q, rtol=1e-9, atol=0, msg=name)


def test_state_dict_names_and_shapes_are_those_of_torchvision(pair):
    ours, theirs = (
        {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()} for model in pair
    )
    assert list(ours.items()) == list(theirs.items())


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
    ],
)
def test_what_cannot_be_built_is_refused(change, text):
    with pytest.raises(UserError, match=text):
        tiny(**change)
