"""Blocks on the kernels against the same blocks of torch's modules in float64."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from reslab.ops import winograd
from reslab.ops.native import Kernels, using_kernels
from reslab.ops.plan import Plan, Unit, kernels_for
from reslab.ops.residual import run

CHANNELS = [16, 32, 48, 64, 80, 128]
EPS = torch.finfo(torch.float32).eps

# How far, in Euclidean norm relative to the reference's, results may be from float64. Most must
# come within ROUNDINGS of one rounding; where a batch is ill-conditioned (two pixels a channel,
# channels that hardly vary) torch's own modules in float32 are the measure, and F(4x4, 3x3) may
# lose a digit more than they do.
ROUNDINGS = 200
WORSE_THAN_TORCH = 30

# Variance from the sum of squares loses mean square / variance: of a channel that hardly varies
# most digits. So many roundings for each unit of that ratio are allowed besides.
ROUNDINGS_A_RATIO = 8

# Two pixels a channel are normalised to -1 and 1 whatever they were: gradients cancel to rounding.
FEWEST_PIXELS = 4

# A sum this near to zero, relative to all sums' spread, may fall on either side of ReLU's kink.
NEAR_KINK = 1e-5


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class Case:
    """What a block is made of, and what it is given."""

    kind: str = "basic"
    in_channels: int = 16
    width: int = 16
    channels: int = 16
    stride: int = 1
    shortcut: str = "identity"
    images: int = 2
    rows: int = 6
    columns: int = 6
    are_last: bool = False
    threads: int = 1
    eps: float = 1e-5
    momentum: float = 0.1
    groups: int = 1
    seed: int = 0

    def convolutions(self) -> list[tuple[int, int, int, int, int]]:
        """In and out channels, kernel, stride and groups of the branch's convolutions."""
        match self.kind:
            case "stem":
                kernel = 7 if self.stride == 2 else 3
                return [(self.in_channels, self.channels, kernel, self.stride, 1)]
            case "basic":
                return [
                    (self.in_channels, self.channels, 3, self.stride, 1),
                    (self.channels, self.channels, 3, 1, 1),
                ]
            case _:
                return [
                    (self.in_channels, self.width, 1, 1, 1),
                    (self.width, self.width, 3, self.stride, self.groups),
                    (self.width, self.channels, 1, 1, 1),
                ]

    def unit(self, ins: int, outs: int, kernel: int, stride: int, groups: int = 1) -> Unit:
        conv = nn.Conv2d(ins, outs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
        if self.are_last:
            conv.to(memory_format=torch.channels_last)
        norm = nn.BatchNorm2d(outs, eps=self.eps, momentum=self.momentum)
        with torch.no_grad():
            norm.weight.normal_()
            norm.bias.normal_()
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
        return Unit(conv, norm)

    def plan(self) -> Plan:
        torch.manual_seed(self.seed)
        branch = tuple(self.unit(*sizes) for sizes in self.convolutions())
        projection = None
        if self.shortcut.startswith("conv"):
            kernel = int(self.shortcut[-1])
            projection = self.unit(self.in_channels, self.channels, kernel, self.stride)
        padded = self.stride if self.shortcut == "padded" else 0
        return Plan(branch, projection, identity=self.shortcut == "identity", padded=padded)

    def inputs(self) -> tuple[Tensor, Tensor]:
        """The block's input and the gradient of its output."""
        torch.manual_seed(self.seed + 1)
        rows, columns = (-(-side // self.stride) for side in (self.rows, self.columns))
        x = torch.randn(self.images, self.in_channels, self.rows, self.columns)
        return x, torch.randn(self.images, self.channels, rows, columns)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    kind = draw(st.sampled_from(["basic", "bottleneck", "stem"]))
    stride = draw(st.sampled_from([1, 2]))
    channels = draw(st.sampled_from(CHANNELS))
    in_channels = draw(st.sampled_from([1, 3] if kind == "stem" else [channels, *CHANNELS]))
    shortcuts = ["none"] if kind == "stem" else ["none", "conv1", "conv3"]
    if kind != "stem" and in_channels <= channels:
        shortcuts.append("padded")
    if stride == 1 and in_channels == channels:
        shortcuts.append("identity")
    return Case(
        kind=kind,
        in_channels=in_channels,
        width=draw(st.sampled_from(CHANNELS)),
        channels=channels,
        stride=stride,
        shortcut=draw(st.sampled_from(shortcuts)),
        images=draw(st.integers(1, 5)),
        rows=draw(st.integers(1, 19)),
        columns=draw(st.integers(1, 19)),
        are_last=draw(st.booleans()),
        threads=draw(st.sampled_from([1, 2])),
        eps=draw(st.sampled_from([1e-5, 1e-3])),
        momentum=draw(st.sampled_from([0.1, 0.7])),
        groups=draw(st.sampled_from([1, 8])) if kind == "bottleneck" else 1,
        seed=draw(st.integers(0, 2**16)),
    )


def modules_of(plan: Plan) -> nn.ModuleList:
    return nn.ModuleList(module for unit in plan.units for module in (unit.conv, unit.norm))


def copied(plan: Plan, dtype: torch.dtype) -> Plan:
    """The same plan with modules of its own."""
    modules = copy.deepcopy(modules_of(plan)).to(dtype)
    units = [Unit(conv, norm) for conv, norm in zip(modules[::2], modules[1::2], strict=True)]
    projection = units.pop() if plan.projection else None
    return replace(plan, branch=tuple(units), projection=projection)


@dataclass
class Watched:
    """How delicate a case is: what goes into ReLUs, and the norms' mean square by variance."""

    kinks: list[Tensor] = field(default_factory=list)
    ratio: float = 0.0

    def norm(self, unit: Unit, x: Tensor) -> Tensor:
        z = unit.conv(x)
        spread = z.var((0, 2, 3), correction=0) + unit.norm.eps
        self.ratio = max(self.ratio, (z.square().mean((0, 2, 3)) / spread).max().item())
        return unit.norm(z)

    def relu(self, x: Tensor) -> Tensor:
        self.kinks.append(x.detach())
        return x.relu()

    def doubtful(self) -> float:
        """The share of numbers that may fall on either side of ReLU's kink."""
        near = sum(int((k.abs() < NEAR_KINK * k.square().mean().sqrt()).sum()) for k in self.kinks)
        return near / min(k.numel() for k in self.kinks)


def by_modules(plan: Plan, x: Tensor, watched: Watched) -> Tensor:
    """The formula, by torch's modules."""
    out = x
    for i, unit in enumerate(plan.branch):
        out = watched.norm(unit, watched.relu(out) if i else out)
    if plan.projection is not None:
        out = out + watched.norm(plan.projection, x)
    elif plan.identity:
        out = out + x
    elif plan.padded:
        missing = torch.zeros_like(out[:, x.shape[1] :])
        out = out + torch.cat([x[:, :, :: plan.padded, :: plan.padded], missing], dim=1)
    return watched.relu(out)


def results(
    plan: Plan,
    inputs: tuple[Tensor, Tensor],
    kernels: Kernels | None,
    watched: Watched | None = None,
) -> dict[str, Tensor]:
    """Output, all gradients and running statistics by name; by torch's modules without kernels."""
    dtype = plan.branch[0].conv.weight.dtype
    x = inputs[0].detach().to(dtype).requires_grad_()
    out = by_modules(plan, x, watched or Watched()) if kernels is None else run(kernels, [plan], x)
    out.backward(inputs[1].to(dtype))
    modules = modules_of(plan)
    found = {"output": out.detach(), "gradient of input": x.grad}
    found |= {f"gradient of {name}": p.grad for name, p in modules.named_parameters()}
    return found | dict(modules.named_buffers())


def distance(found: Tensor, expected: Tensor) -> float:
    found, expected = found.double(), expected.double()
    return ((found - expected).norm() / expected.norm().clamp(min=1e-30)).item()


def compare(case: Case, kernels: Kernels) -> dict[str, tuple[float, float]]:
    """By name: how far the kernels' result is from float64's, and how far it may be."""
    torch.set_num_threads(case.threads)
    plan, inputs = case.plan(), case.inputs()
    watched = Watched()
    expected = results(copied(plan, torch.float64), inputs, None, watched)
    torchs = results(copied(plan, torch.float32), inputs, None)
    ours = results(plan, inputs, kernels)
    assert ours.keys() == expected.keys()
    found = {}
    pixels = inputs[1].numel() // case.channels
    for name, tensor in ours.items():
        if "gradient" in name and pixels < FEWEST_PIXELS:
            continue
        assert tensor.shape == expected[name].shape
        allowed = max(ROUNDINGS * EPS, WORSE_THAN_TORCH * distance(torchs[name], expected[name]))
        allowed += ROUNDINGS_A_RATIO * EPS * watched.ratio
        if "gradient" in name:
            allowed += 4 * watched.doubtful() ** 0.5
        found[name] = distance(tensor, expected[name]), allowed
    return found


def check(case: Case, kernels: Kernels) -> None:
    far = {
        name: f"{found:.2g}, allowed {allowed:.2g}"
        for name, (found, allowed) in compare(case, kernels).items()
        if not found <= allowed
    }
    assert not far


def fits(case: Case, kernels: Kernels) -> bool:
    with using_kernels(kernels):
        return kernels_for(case.inputs()[0], [case.plan()], []) is not None


@settings(max_examples=30, deadline=None)
@given(case=cases())
def test_blocks_give_what_torchs_modules_give_in_float64(kernels: Kernels, case: Case) -> None:
    if fits(case, kernels):  # one pixel a channel is left to torch
        check(case, kernels)


BASIC = Case(images=3, rows=7, columns=9)
# Each way through the kernels once: few and many channels, torch's convolutions, all shortcuts.
EACH_WAY = [
    BASIC,
    replace(BASIC, in_channels=32, width=32, channels=32, are_last=True),
    replace(BASIC, in_channels=64, channels=64, shortcut="conv1"),
    replace(BASIC, in_channels=80, channels=80, shortcut="conv3"),
    replace(BASIC, channels=48, stride=2, shortcut="padded"),
    replace(BASIC, channels=48, shortcut="padded", rows=5),
    replace(BASIC, kind="bottleneck", channels=64, stride=2, shortcut="conv1", groups=8),
    replace(BASIC, kind="bottleneck", width=128, shortcut="identity"),
    replace(BASIC, kind="stem", in_channels=3, shortcut="none", stride=2),
    replace(BASIC, rows=1, columns=1, images=5),
]
each_way = pytest.mark.parametrize("case", EACH_WAY, ids=map(str, range(len(EACH_WAY))))


@each_way
@pytest.mark.parametrize("threads", [1, 2])
def test_each_way_is_right(kernels: Kernels, case: Case, threads: int) -> None:
    assert fits(case, kernels)
    check(replace(case, threads=threads), kernels)


@pytest.mark.parametrize("images", [1, 2, 3])
def test_images_may_go_in_parts(
    kernels: Kernels, monkeypatch: pytest.MonkeyPatch, images: int
) -> None:
    case = replace(BASIC, in_channels=80, channels=80, images=5)
    tiles = 2 * 3
    monkeypatch.setattr(winograd, "MOST_NUMBERS", 36 * tiles * 80 * images)
    check(case, kernels)


@each_way
@pytest.mark.parametrize("threads", [1, 2])
def test_equal_work_gives_equal_bits(kernels: Kernels, case: Case, threads: int) -> None:
    torch.set_num_threads(threads)
    first, second = (results(case.plan(), case.inputs(), kernels) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


@each_way
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("place", ["input", "conv", "weight", "bias"])
def test_what_is_no_number_stays_visible(
    kernels: Kernels, case: Case, value: float, place: str
) -> None:
    plan, (x, gradient) = case.plan(), case.inputs()
    first = plan.branch[0]
    middle = first.conv.kernel_size[0] // 2
    spoilt = {
        "input": x.select(0, 0).view(-1),
        "conv": first.conv.weight.data[3, :, middle, middle],
        "weight": first.norm.weight.data,
        "bias": first.norm.bias.data,
    }
    spoilt[place][0] = value
    theirs = results(copied(plan, torch.float32), (x, gradient), None)
    ours = results(plan, (x, gradient), kernels)
    for name, tensor in ours.items():
        # Where torch's is finite ours need not be: a tile shares its inputs' infinities.
        assert not (tensor.isfinite() & ~theirs[name].isfinite()).any(), name
    if place in ("input", "conv"):
        assert not theirs["output"].isfinite().all()


@each_way
@pytest.mark.parametrize("of", ["first", "last"])
def test_nothing_flows_back_where_a_sum_is_exactly_zero(
    kernels: Kernels, case: Case, of: str
) -> None:
    plan = replace(case.plan(), identity=False, projection=None, padded=0)
    at = 0 if of == "first" else len(plan.branch) - 1
    norm = plan.branch[at].norm
    nn.init.zeros_(norm.weight)
    nn.init.zeros_(norm.bias)
    found = results(plan, case.inputs(), kernels)
    assert not found[f"gradient of {2 * at}.weight"].any()
    assert not norm.weight.grad.any()
    assert not norm.bias.grad.any()


def test_the_input_may_lie_as_it_likes_and_need_no_gradient(kernels: Kernels) -> None:
    expected = results(BASIC.plan(), BASIC.inputs(), kernels)
    for lay in (
        lambda x: x,
        lambda x: x.to(memory_format=torch.channels_last),
        lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
        lambda x: torch.cat([x, x], dim=1)[:, :16],
    ):
        plan, (x, gradient) = BASIC.plan(), BASIC.inputs()
        x = lay(x)
        out = run(kernels, [plan], x)
        out.backward(lay(gradient))
        assert x.grad is None
        assert torch.equal(out, expected["output"])
        for name, parameter in modules_of(plan).named_parameters():
            assert torch.equal(parameter.grad, expected[f"gradient of {name}"])


@each_way
def test_what_is_frozen_gets_no_gradient(kernels: Kernels, case: Case) -> None:
    expected = results(case.plan(), case.inputs(), kernels)
    plan = case.plan()
    frozen = [plan.branch[0].conv.weight, plan.branch[-1].norm.weight, plan.branch[-1].norm.bias]
    for parameter in frozen:
        parameter.requires_grad_(False)
    x, gradient = case.inputs()
    run(kernels, [plan], x.requires_grad_()).backward(gradient)
    assert torch.equal(x.grad, expected["gradient of input"])
    for name, parameter in modules_of(plan).named_parameters():
        if parameter.requires_grad:
            assert torch.equal(parameter.grad, expected[f"gradient of {name}"])
        else:
            assert parameter.grad is None


def test_nothing_is_computed_for_what_is_frozen(
    kernels: Kernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans = [replace(BASIC, seed=seed).plan() for seed in range(3)]
    x, gradient = BASIC.inputs()
    run(kernels, [copied(plan, torch.float32) for plan in plans], x)  # builds nothing later
    called: list[str] = []
    call = Kernels.call

    def count(self: Kernels, name: str, *arguments: Tensor | int | float | None) -> None:
        called.append(name)
        call(self, name, *arguments)

    def backward(*frozen: int) -> list[Tensor | None]:
        own = [copied(plan, torch.float32) for plan in plans]
        modules = nn.ModuleList(m for plan in own for m in modules_of(plan))
        parameters = list(modules.parameters())
        for number in frozen:
            parameters[number].requires_grad_(False)
        out = run(kernels, own, x)
        called.clear()
        out.backward(gradient)
        return [p.grad for p in parameters]

    monkeypatch.setattr(Kernels, "call", count)
    whole = backward()
    assert called.count("unpack_weights") == 6
    # Two units of three parameters a block: the first block, and the second's first convolution.
    found = backward(*range(6), 6)
    assert found[:7] == [None] * 7
    assert all(map(torch.equal, found[7:], whole[7:]))
    assert called.count("unpack_weights") == 3
    assert called.count("norm_backward") == 4
    # A frozen convolution in the middle, to the first of which a gradient has to come.
    found = backward(6, 9)
    assert all(torch.equal(a, b) for a, b in zip(found, whole, strict=True) if a is not None)
    assert [i for i, a in enumerate(found) if a is None] == [6, 9]
    assert called.count("unpack_weights") == 4


def test_a_second_backward_is_refused_as_ever(kernels: Kernels) -> None:
    out = run(kernels, [BASIC.plan()], BASIC.inputs()[0])
    out.sum().backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        out.sum().backward()


@each_way
def test_a_graph_that_is_retained_gives_the_same_twice(kernels: Kernels, case: Case) -> None:
    plan, (x, gradient) = case.plan(), case.inputs()
    x.requires_grad_()
    out = run(kernels, [plan], x)
    out.backward(gradient, retain_graph=True)
    leaves = [x, *modules_of(plan).parameters()]
    once = [leaf.grad.clone() for leaf in leaves]
    out.backward(gradient)
    assert all(torch.equal(2 * a, leaf.grad) for a, leaf in zip(once, leaves, strict=True))


def test_weights_that_were_changed_in_between_are_noticed(kernels: Kernels) -> None:
    plan = BASIC.plan()
    out = run(kernels, [plan], BASIC.inputs()[0])
    with torch.no_grad():
        plan.branch[1].conv.weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


def test_nothing_is_kept_where_no_gradient_is_wanted(kernels: Kernels) -> None:
    plan = BASIC.plan()
    with torch.no_grad():
        out = run(kernels, [plan], BASIC.inputs()[0])
    assert not out.requires_grad
    assert torch.equal(out, results(BASIC.plan(), BASIC.inputs(), kernels)["output"])
    assert plan.branch[0].norm.num_batches_tracked == 1
