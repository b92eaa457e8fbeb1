import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn, optim

from reslab.engine.runtime import Runtime
from reslab.errors import ReslabError
from reslab.models.blocks import BasicBlock
from reslab.models.create import create_model
from reslab.models.resnet import ResNet
from reslab.ops.native import Kernels, find_kernels, using_kernels
from reslab.training.step import StepTooLargeError, train_step

IMAGES = torch.randn(6, 2, 5, 5, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 2, 1, 0])


@pytest.fixture
def model():
    torch.manual_seed(0)
    return ResNet(
        BasicBlock, (1, 1), (4, 8), num_classes=3, in_channels=2, stem="small", shortcut="A"
    )


def step(
    model,
    optimizer,
    images=IMAGES,
    labels=LABELS,
    *,
    label_smoothing=0.0,
    precision="fp32",
    **options,
):
    return train_step(
        model,
        optimizer,
        images,
        labels,
        label_smoothing=label_smoothing,
        runtime=Runtime(precision=precision),
        **options,
    )


class Logits(nn.Module):
    """A net whose logits are its parameter, whatever the images."""

    def __init__(self, logits_NK, dtype=torch.float32):
        super().__init__()
        self.logits = nn.Parameter(logits_NK)
        self.dtype = dtype

    def forward(self, images_NCHW):
        return (1 * self.logits).to(self.dtype)


def test_three_steps_equal_a_hand_written_reference(model):
    twin = copy.deepcopy(model).double()
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    velocity = [torch.zeros_like(p) for p in twin.parameters()]
    for i in range(3):
        images = IMAGES + i
        result = step(model, optimizer, images)
        logits = twin(images.double())
        chosen = logits.log_softmax(1)[torch.arange(6), LABELS]
        loss = -chosen.mean()
        gradients = torch.autograd.grad(loss, list(twin.parameters()))
        with torch.no_grad():
            for p, v, g in zip(twin.parameters(), velocity, gradients, strict=True):
                v.mul_(0.9).add_(g)
                p.sub_(0.05 * v)
        assert result.loss.item() == pytest.approx(loss.item(), rel=1e-4)
        assert result.hits.item() == (logits.argmax(1) == LABELS).sum().item()
    for (name, p), q in zip(model.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p.double(), q, rtol=1e-3, atol=1e-5, msg=name)
    for p, q in zip(model.buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(p.double(), q.double(), rtol=1e-3, atol=1e-5)


def test_each_call_makes_one_forward_pass_and_one_update(model):
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    counts = {"forward": 0, "step": 0}
    model.register_forward_hook(lambda *_: counts.update(forward=counts["forward"] + 1))
    optimizer.register_step_post_hook(lambda *_: counts.update(step=counts["step"] + 1))
    for n in (1, 2, 3):
        step(model, optimizer)
        assert counts == {"forward": n, "step": n}
    assert model.bn1.num_batches_tracked.item() == 3


def test_gradients_are_those_of_the_step_alone(model):
    optimizer = optim.SGD(model.parameters(), lr=0.0)
    step(model, optimizer, IMAGES + 1)
    step(model, optimizer)
    twin = copy.deepcopy(model)
    twin.zero_grad()
    F.cross_entropy(twin(IMAGES), LABELS).backward()
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        assert p.grad is not None and p.grad.abs().sum() > 0
        torch.testing.assert_close(p.grad, q.grad)


def test_the_loss_is_that_before_the_update(model):
    twin = copy.deepcopy(model)
    result = step(model, optim.SGD(model.parameters(), lr=10.0))
    assert result.loss.item() == pytest.approx(F.cross_entropy(twin(IMAGES), LABELS).item())


@pytest.mark.parametrize("amount", [0.0, 0.1, 0.7])
def test_label_smoothing_by_its_formula(amount):
    """Targets are (1 - a) one-hot + a / K."""
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
    model = Logits(logits.clone())
    result = step(model, optim.SGD(model.parameters(), lr=0.1), label_smoothing=amount)
    targets = (1 - amount) * torch.eye(3)[LABELS] + amount / 3
    log_p = (logits - logits.logsumexp(1, keepdim=True)).double()
    assert result.loss.item() == pytest.approx(-(targets * log_p).sum(1).mean().item(), rel=1e-5)
    # The gradient of the logits is (softmax - targets) / N.
    expected = logits - 0.1 * (logits.softmax(1) - targets) / 6
    torch.testing.assert_close(model.logits.detach(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("mixed", [False, True])
def test_class_weights_multiply_the_loss_of_each_image(smoothing, mixed):
    """-w_k t_k log p_k summed over the classes, its mean over images and not over weights."""
    weights = torch.tensor([0.5, 2.0, 1.0])
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
    onehot = torch.eye(3)[LABELS]
    given = 0.75 * onehot + 0.25 * onehot.flip(0) if mixed else LABELS
    targets = (1 - smoothing) * (given if mixed else onehot) + smoothing / 3
    expected = -(weights * targets * logits.log_softmax(1)).double().sum(1).mean().item()
    model = Logits(logits.clone())
    result = step(
        model,
        optim.SGD(model.parameters(), lr=0.1),
        labels=given,
        label_smoothing=smoothing,
        class_weights_K=weights,
    )
    assert result.loss.item() == pytest.approx(expected, rel=1e-5)


def test_the_loss_is_computed_in_fp32_from_bf16_logits():
    logits = 5 * torch.randn(6, 3, generator=torch.Generator().manual_seed(2))
    logits = logits.bfloat16().float()  # so that nothing is lost on the way in
    model = Logits(logits.clone(), dtype=torch.bfloat16)
    result = step(model, optim.SGD(model.parameters(), lr=0.1), precision="bf16")
    exact = F.cross_entropy(logits.double(), LABELS).item()
    rounded = F.cross_entropy(logits.bfloat16(), LABELS).item()
    assert abs(rounded - exact) > 1e-4 * exact, "bf16 must show for the test to mean anything"
    assert result.loss.dtype == torch.float32
    assert result.loss.item() == pytest.approx(exact, rel=1e-6)


def test_autocast_covers_the_forward_pass_and_not_the_loss(model, monkeypatch):
    seen = {}
    model.layer1[0].conv1.register_forward_hook(lambda _, __, out: seen.update(conv=out.dtype))
    cross_entropy = F.cross_entropy

    def watched(logits, *args, **kwargs):
        seen.update(loss=logits.dtype, autocast=torch.is_autocast_enabled("cpu"))
        return cross_entropy(logits, *args, **kwargs)

    monkeypatch.setattr(F, "cross_entropy", watched)
    step(model, optim.SGD(model.parameters(), lr=0.1), precision="bf16")
    assert seen == {"conv": torch.bfloat16, "loss": torch.float32, "autocast": False}
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_hits_are_counted_exactly():
    logits = torch.zeros(6, 3)
    logits[torch.arange(6), torch.tensor([0, 1, 2, 0, 0, 0])] = 1.0  # labels 0 1 2 2 1 0
    model = Logits(logits)
    result = step(model, optim.SGD(model.parameters(), lr=100.0))
    assert result.hits.item() == 4


def test_the_result_holds_no_graph(model):
    result = train_step(
        model,
        optim.SGD(model.parameters(), lr=0.1),
        IMAGES,
        LABELS,
        label_smoothing=0.0,
        runtime=Runtime(),
    )
    assert result.loss.shape == result.hits.shape == ()
    assert not result.loss.requires_grad
    assert not result.hits.requires_grad


class PerImage(nn.Module):
    """A net without batch norm, so that parts of a batch know nothing of each other."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(50, 3)

    def forward(self, images_NCHW):
        return self.layer(images_NCHW.flatten(1))


@pytest.mark.parametrize("parts", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 2.0, 1.0])])
def test_parts_of_a_batch_have_the_gradient_of_the_whole(parts, weights):
    whole, apart = PerImage().double(), PerImage().double()
    results = [
        step(
            model,
            optim.SGD(model.parameters(), lr=0.1),
            IMAGES.double(),
            label_smoothing=0.1,
            micro_batches=n,
            class_weights_K=weights,
        )
        for model, n in ((whole, 1), (apart, parts))
    ]
    torch.testing.assert_close(apart.layer.weight.grad, whole.layer.weight.grad)
    torch.testing.assert_close(apart.layer.weight, whole.layer.weight)
    assert results[0].loss.item() == pytest.approx(results[1].loss.item(), rel=1e-6)
    assert results[0].hits == results[1].hits


def test_a_part_that_is_not_finite_spoils_the_step(model):
    before = copy.deepcopy(model.state_dict())
    images = IMAGES.clone()
    images[5] = float("inf")
    result = step(model, optim.SGD(model.parameters(), lr=0.1), images, micro_batches=3)
    assert result.fault.rows == (5,)
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    assert result.fault.what == "the input holds numbers that are not finite"


def test_large_but_finite_gradients_are_no_fault():
    model = Logits(torch.zeros(6, 3))
    model.logits.register_hook(lambda grad: grad * 1e30)  # their squares overflow fp32
    assert step(model, optim.SGD(model.parameters(), lr=1e-30)).fault is None


def forget_memory_beyond(model, images, where):
    """Let the net's head fail for want of memory where it sees more images than these."""

    def fail(_, inputs, *__):
        if len(inputs[0]) > images:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    if where == "forward":
        return model.fc.register_forward_hook(fail)
    return model.fc.register_full_backward_hook(lambda m, given, _: fail(m, given))


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_a_step_without_memory_leaves_everything_as_it_was(model, where):
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    step(model, optimizer)
    before = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    planted = forget_memory_beyond(model, 3, where)
    with pytest.raises(StepTooLargeError) as caught:
        step(model, optimizer)
    # A traceback would keep what the step had computed so far.
    assert caught.value.__cause__ is caught.value.__context__ is None
    for old, new in zip(before, (model.state_dict(), optimizer.state_dict()), strict=True):
        torch.testing.assert_close(new, old, rtol=0, atol=0)
    assert all(p.grad is None for p in model.parameters())
    step(model, optimizer, micro_batches=2)
    planted.remove()
    twin = copy.deepcopy(model)
    twin.load_state_dict(before[0])
    other = optim.SGD(twin.parameters(), lr=0.05, momentum=0.9)
    other.load_state_dict(before[1])
    step(twin, other, micro_batches=2)
    torch.testing.assert_close(twin.state_dict(), model.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["norm", "norm_backward"])
def test_kernels_without_memory_leave_everything_as_it_was(monkeypatch, name):
    kernels = find_kernels().kernels
    if kernels is None:
        pytest.skip("there are no kernels here")
    net = create_model("resnet14", num_classes=3, in_channels=1).train()
    optimizer = optim.SGD(net.parameters(), lr=0.05)
    before = copy.deepcopy(net.state_dict())
    call, seen = Kernels.call, []

    def fail_late(self, function, *arguments):
        seen.append(function)
        if seen.count(name) == 5:
            raise MemoryError
        call(self, function, *arguments)

    monkeypatch.setattr(Kernels, "call", fail_late)
    with using_kernels(kernels), pytest.raises(StepTooLargeError):
        step(net, optimizer, torch.randn(4, 1, 16, 16), torch.arange(4) % 3)
    assert seen.count(name) == 5
    torch.testing.assert_close(dict(net.state_dict()), dict(before), rtol=0, atol=0)
    assert all(p.grad is None for p in net.parameters())


def test_other_faults_of_a_step_are_not_taken_for_want_of_memory(model):
    with pytest.raises(IndexError, match="is out of bounds"):
        step(model, optim.SGD(model.parameters(), lr=0.1), labels=LABELS + 7)


def test_an_optimiser_without_memory_is_told(model, monkeypatch):
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    def fail():
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(optimizer, "step", fail)
    with pytest.raises(ReslabError, match="too little memory for what the optimiser keeps"):
        step(model, optimizer)
