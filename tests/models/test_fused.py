"""Nets with the kernels switched on are the same nets; and what they cannot do goes torch's way."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from reslab.models.blocks import BasicBlock, Bottleneck
from reslab.models.create import create_model
from reslab.models.layers import group_norm
from reslab.models.resnet import ResNet
from reslab.ops.native import Kernels, using_kernels


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the functions that the kernels were asked for."""
    names: list[str] = []
    call = Kernels.call

    def spy(self: Kernels, name: str, *arguments: object) -> None:
        names.append(name)
        call(self, name, *arguments)

    monkeypatch.setattr(Kernels, "call", spy)
    return names


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def block(**options: object) -> BasicBlock:
    return BasicBlock(16, 16, **options).train()


def images() -> Tensor:
    return torch.randn(2, 16, 8, 8)


def far(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).norm() / expected.norm().clamp(min=1e-12)).item()


@pytest.mark.parametrize("shortcut", ["A", "B", "C", "conv3x3", "none"])
@pytest.mark.parametrize("make", [BasicBlock, Bottleneck])
@pytest.mark.parametrize("stride", [1, 2])
def test_every_shortcut_has_its_kernels(
    kernels: Kernels, calls: list[str], make: type[BasicBlock], stride: int, shortcut: str
) -> None:
    plain = make(16, 32, stride, shortcut=shortcut)
    fused = copy.deepcopy(plain)
    x = torch.randn(2, 16, 9, 8)
    expected = plain(x)
    assert not calls
    with using_kernels(kernels):
        found = fused(x)
    assert calls.count("norm") == sum(isinstance(m, nn.BatchNorm2d) for m in plain.modules())
    assert far(found, expected) < 1e-5


def test_they_are_off_by_default(calls: list[str]) -> None:
    block()(images()).sum().backward()
    assert not calls


def frozen_norm(of: BasicBlock) -> BasicBlock:
    of.bn2.eval()
    return of


def biased(of: BasicBlock) -> BasicBlock:
    of.conv2 = nn.Conv2d(16, 16, 3, padding=1, bias=True)
    return of


def reflecting(of: BasicBlock) -> BasicBlock:
    of.conv2 = nn.Conv2d(16, 16, 3, padding=1, padding_mode="reflect", bias=False)
    return of


def padded_by_name(of: BasicBlock) -> BasicBlock:
    of.conv2 = nn.Conv2d(16, 16, 3, padding="same", bias=False)
    return of


class OwnConvolution(nn.Conv2d):
    """May do anything."""


class OwnNorm(nn.BatchNorm2d):
    """May do anything."""


class OwnReLU(nn.ReLU):
    """May do anything."""


def own_convolution(of: BasicBlock) -> BasicBlock:
    of.conv1 = OwnConvolution(16, 16, 3, padding=1, bias=False)
    return of


def parametrised(of: BasicBlock) -> BasicBlock:
    nn.utils.parametrizations.weight_norm(of.conv1)
    return of


def bare_shortcut(of: BasicBlock) -> BasicBlock:
    of.downsample = nn.Conv2d(16, 16, 1)
    return of


LEFT_TO_TORCH: dict[str, Callable[[], BasicBlock]] = {
    "evaluation": lambda: block().eval(),
    "one norm in evaluation": lambda: frozen_norm(block()),
    "another activation": lambda: block(activation=nn.GELU),
    "an own activation": lambda: block(activation=OwnReLU),
    "group norm": lambda: block(norm=group_norm),
    "an own norm": lambda: block(norm=OwnNorm),
    "stochastic depth": lambda: block(stochastic_depth=0.5),
    "no momentum": lambda: block(norm=lambda c: nn.BatchNorm2d(c, momentum=None)),
    "no weights in the norm": lambda: block(norm=lambda c: nn.BatchNorm2d(c, affine=False)),
    "no statistics": lambda: block(norm=lambda c: nn.BatchNorm2d(c, track_running_stats=False)),
    "a bias": lambda: biased(block()),
    "another padding": lambda: reflecting(block()),
    "a padding by name": lambda: padded_by_name(block()),
    "an own convolution": lambda: own_convolution(block()),
    "weight norm": lambda: parametrised(block()),
    "a shortcut without norm": lambda: bare_shortcut(block()),
}


@pytest.mark.parametrize("kind", LEFT_TO_TORCH)
def test_what_the_kernels_cannot_do_is_left_to_torch(
    kernels: Kernels, calls: list[str], kind: str
) -> None:
    plain = LEFT_TO_TORCH[kind]()
    other = copy.deepcopy(plain)
    x = images()
    torch.manual_seed(1)
    expected = plain(x)
    torch.manual_seed(1)
    with using_kernels(kernels):
        found = other(x)
    assert not calls
    assert torch.equal(found, expected)


def test_channels_that_fill_no_vectors_are_left_to_torch(
    kernels: Kernels, calls: list[str]
) -> None:
    channels = kernels.lanes * 3 // 2
    with using_kernels(kernels):
        BasicBlock(channels, channels)(torch.randn(2, channels, 8, 8))
    assert not calls


def test_other_types_are_left_to_torch(kernels: Kernels, calls: list[str]) -> None:
    class Own(Tensor):
        pass

    with using_kernels(kernels):
        assert block().double()(images().double()).dtype == torch.float64
        assert isinstance(block()(images().as_subclass(Own)), Own)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            block()(images())
        assert block().to("meta")(images().to("meta")).is_meta
        block()(images()[:0])
        assert not calls
        with torch.autocast("cpu", enabled=False):
            block()(images())
    assert calls


@pytest.mark.parametrize(("stride", "side"), [(1, 1), (2, 2), (2, 1)])
def test_one_pixel_a_channel_is_refused_as_ever(
    kernels: Kernels, calls: list[str], stride: int, side: int
) -> None:
    with using_kernels(kernels), pytest.raises(ValueError, match="more than 1 value per channel"):
        BasicBlock(16, 16, stride)(torch.randn(1, 16, side, side))
    assert not calls


@pytest.mark.parametrize(
    "place",
    ["conv1", "bn1", "conv2", "bn2", "relu", "stochastic_depth", "downsample", "downsample.0"],
)
@pytest.mark.parametrize(
    "listen", ["register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook"]
)
def test_whoever_listens_is_told(
    kernels: Kernels, calls: list[str], place: str, listen: str
) -> None:
    heard = BasicBlock(16, 32)
    told = []
    module = heard.get_submodule(place)
    if listen == "register_full_backward_hook":
        if place in ("bn2", "stochastic_depth"):
            pytest.skip("torch refuses the addition in place behind such a hook")
        heard.relu.inplace = False  # as torch demands
    handle = getattr(module, listen)(lambda *_: told.append(1))
    with using_kernels(kernels):
        heard(images().requires_grad_()).sum().backward()
        assert told
        assert not calls
        handle.remove()
        heard(images())
    assert calls


def test_hooks_on_the_block_itself_do_no_harm(kernels: Kernels, calls: list[str]) -> None:
    heard = block()
    told = []
    heard.register_forward_hook(lambda *_: told.append(1))
    with using_kernels(kernels):
        heard(images())
    assert told
    assert calls


@pytest.mark.parametrize("place", ["conv1", "bn1", "relu"])
def test_whoever_listens_to_the_stem_is_told(
    kernels: Kernels, calls: list[str], place: str
) -> None:
    model = create_model("plain14")
    told = []
    model.get_submodule(place).register_forward_hook(lambda *_: told.append(1))
    with using_kernels(kernels):
        model(torch.randn(2, 3, 8, 8))
    assert told
    assert calls.count("norm") == 12


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_compiler_sees_torchs_own_operations(kernels: Kernels, calls: list[str]) -> None:
    model = create_model("resnet14").train()
    x = torch.randn(2, 3, 8, 8)
    expected = copy.deepcopy(model)(x)
    with using_kernels(kernels):
        found = torch.compile(model, backend="eager", fullgraph=True)(x)
    assert not calls
    torch.testing.assert_close(found, expected)


# Name, options, side of the images, convolutions on the kernels (None: all).
NETS: list[tuple[str, dict[str, object], int, int | None]] = [
    ("resnet14", {}, 16, None),
    ("resnet14", {"in_channels": 1}, 14, None),
    ("resnet14", {"shortcut": "B"}, 13, None),
    ("resnet14", {"shortcut": "C"}, 12, None),
    ("resnet14", {"shortcut": "conv3x3"}, 12, None),
    ("plain14", {}, 16, None),
    ("resnet14", {"zero_init_residual": True}, 16, None),
    ("resnet18", {"stem": "small", "num_classes": 10}, 8, None),
    ("resnet18", {"num_classes": 10}, 64, None),
    ("resnet50", {"num_classes": 10}, 64, None),
    ("resnext50_32x4d", {"num_classes": 10}, 64, None),
    ("preact_resnet18", {"num_classes": 10}, 32, 1),
    ("resnet14", {"norm": "group"}, 12, 0),
    ("resnet14", {"activation": "gelu"}, 12, 0),
    ("resnet14", {"stochastic_depth": 0.3}, 12, 1),
]


def step(model: ResNet, x: Tensor, kernels: Kernels | None) -> tuple[Tensor, Tensor]:
    """Logits, and all gradients in a row, of a training step that it takes."""
    torch.manual_seed(2)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    with using_kernels(kernels):
        logits = model(x)
        nn.functional.cross_entropy(logits, torch.arange(len(x)) % 10).backward()
    optimiser.step()
    return logits.detach(), torch.cat([p.grad.flatten() for p in model.parameters()])


@pytest.mark.parametrize(("name", "options", "side", "used"), NETS)
def test_a_step_is_that_of_the_net_without_kernels(
    kernels: Kernels,
    calls: list[str],
    name: str,
    options: dict[str, object],
    side: int,
    used: int | None,
) -> None:
    plain = create_model(name, **options).train()
    fused, exact = copy.deepcopy(plain), copy.deepcopy(plain).double()
    x = torch.randn(8, plain.conv1.in_channels, side, side)
    expected, gradients = step(exact, x.double(), None)
    theirs = [far(*pair) for pair in zip(step(plain, x, None), (expected, gradients), strict=True)]
    assert not calls
    ours = [far(*pair) for pair in zip(step(fused, x, kernels), (expected, gradients), strict=True)]
    norms = sum(isinstance(m, nn.BatchNorm2d) for m in plain.modules())
    assert calls.count("norm") == calls.count("norm_backward") == (norms if used is None else used)
    # A number that falls on the other side of ReLU's kink takes its whole gradient along: what
    # torch's own float32 does to the net is the measure.
    assert ours[0] <= max(1e-5, 30 * theirs[0])
    assert ours[1] <= max(2e-2, 10 * theirs[1])

    after, by_torch = fused.state_dict(), plain.state_dict()
    assert list(after) == list(exact.state_dict())
    for key, value in exact.state_dict().items():
        if "num_batches" in key:
            assert after[key] == value == 1
        else:
            # Of a single parameter one such number may be a good part of what it has.
            least = 1e-4 if "running" in key else 5e-2
            assert far(after[key], value) <= max(least, 10 * far(by_torch[key], value)), key


def test_nets_that_were_trained_on_kernels_predict_without_them(
    kernels: Kernels, calls: list[str]
) -> None:
    model = create_model("resnet14").train()
    x = torch.randn(8, 3, 12, 12)
    step(model, x, kernels)
    calls.clear()
    model.eval()
    with using_kernels(kernels):
        found = model(x)
    assert not calls
    assert torch.equal(found, model(x))


@pytest.mark.parametrize("segments", [None, 3])
def test_activations_may_be_computed_again(
    kernels: Kernels, calls: list[str], segments: int | None
) -> None:
    plain = create_model("resnet20").train()
    spared = copy.deepcopy(plain)
    spared.checkpoint_activations(segments)
    x = torch.randn(4, 3, 12, 12)
    expected, found = step(plain, x, kernels), step(spared, x, kernels)
    assert calls.count("norm") > 2 * 19  # the second net ran some of its blocks twice
    # What a whole chain adds up block by block, segments add up in another order.
    for mine, other in zip(found, expected, strict=True):
        assert (mine - other).norm() <= 1e-4 * other.norm()
    ours, theirs = dict(spared.named_buffers()), dict(plain.named_buffers())
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert all(value == 1 for key, value in ours.items() if "num_batches" in key)


def test_features_are_those_of_the_stages(kernels: Kernels) -> None:
    model = create_model("resnet14").train()
    x = torch.randn(4, 3, 12, 12)
    expected = copy.deepcopy(model).features(x)
    with using_kernels(kernels):
        found = model.features(x)
    assert list(found) == list(expected)
    assert all(far(found[name], expected[name]) < 1e-5 for name in found)


CHAINS = {
    "conv3x3": ("resnet14", {"shortcut": "conv3x3"}, 32, 1),
    "padded": ("resnet14", {}, 32, 3),
    "plain": ("plain14", {}, 32, 1),
    "wide": ("resnet18", {"stem": "small"}, 32, 4),
    "pooled": ("resnet18", {}, 96, 5),
}


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_gives_what_its_blocks_give_one_by_one(
    kernels: Kernels, calls: list[str], name: str
) -> None:
    """With one look less at each activation: only where torch's convolution, or a padded shortcut,
    stands between two blocks does the ReLU there take a pass of its own."""
    net, options, side, masks = CHAINS[name]
    torch.manual_seed(0)
    chained = create_model(net, num_classes=5, **options).train()
    single = copy.deepcopy(chained)
    for stage in single.stages():
        stage.register_forward_hook(lambda *_: None)
    x = torch.randn(4, 3, side, side)
    found = step(chained, x, kernels)
    assert calls.count("mask") == masks
    calls.clear()
    expected = step(single, x, kernels)
    assert calls.count("mask") > masks
    for mine, other in zip(found, expected, strict=True):
        assert (mine - other).norm() <= 1e-4 * other.norm()
    ours, theirs = dict(chained.named_buffers()), dict(single.named_buffers())
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_whoever_listens_within_a_chain_is_heard(kernels: Kernels) -> None:
    model = create_model("resnet14").train()
    parts = [model.layer2, model.layer2[1], model.layer3[0].downsample, model.maxpool, model.relu]
    seen: list[nn.Module] = []
    for part in parts:
        part.register_forward_hook(lambda module, *_: seen.append(module))
    with using_kernels(kernels):
        model(torch.randn(4, 3, 16, 16))
    assert set(parts) == set(seen)


def test_a_block_with_a_forward_of_its_own_is_called(kernels: Kernels) -> None:
    class Doubled(BasicBlock):
        def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(x_NCHW)

    torch.manual_seed(0)
    model = ResNet(Doubled, (1, 1), (16, 32), num_classes=3, stem="small").train()
    x = torch.randn(4, 3, 8, 8)
    expected = copy.deepcopy(model)(x)
    with using_kernels(kernels):
        found = model(x)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


class Halved(nn.Sequential):
    def forward(self, x_NCHW: Tensor) -> Tensor:
        return 0.5 * super().forward(x_NCHW)


def halved_shortcut() -> BasicBlock:
    made = BasicBlock(16, 32, 2)
    made.downsample = Halved(*made.downsample)
    return made


def left_out_shortcut(kind: str) -> BasicBlock:
    made = BasicBlock(16, 32, 2, shortcut=kind)
    made.is_residual = False
    return made


def own_depth() -> BasicBlock:
    made = BasicBlock(16, 32, 2)
    made.stochastic_depth = nn.Identity()
    return made


@pytest.mark.parametrize(
    "make",
    [
        halved_shortcut,
        lambda: left_out_shortcut("A"),
        lambda: left_out_shortcut("B"),
        own_depth,
    ],
    ids=["halved", "no padding", "no projection", "own depth"],
)
def test_parts_that_were_changed_do_what_they_do_without_kernels(
    kernels: Kernels, make: Callable[[], BasicBlock]
) -> None:
    plain = make().train()
    fused = copy.deepcopy(plain)
    x = torch.randn(2, 16, 8, 8)
    expected = plain(x)
    with using_kernels(kernels):
        assert far(fused(x), expected) < 1e-5
