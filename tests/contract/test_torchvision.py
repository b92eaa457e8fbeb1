"""Our nets against torchvision's: names, logits, gradients, statistics."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from reslab.catalog.nets import NETS
from reslab.models.create import create_model

THEIRS = [net.name for net in NETS if hasattr(torchvision.models, net.name)]
LARGE = {"resnet152", "wide_resnet101_2", "resnext101_32x8d", "resnext101_64x4d"}
EACH = [pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name for name in THEIRS]


def randomise_norms(model):
    """Batch norm as training leaves it: no scale is one, no shift or mean is zero."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 2.0)


@pytest.fixture(scope="module", params=EACH)
def pair(request):
    """Ours and torchvision's with the same weights, in fp32."""
    torch.manual_seed(1)
    theirs = getattr(torchvision.models, request.param)(num_classes=7)
    randomise_norms(theirs)
    with torch.device("meta"):
        ours = create_model(request.param, num_classes=7)
    ours.load_state_dict(
        {name: tensor.clone() for name, tensor in theirs.state_dict().items()},
        strict=True,
        assign=True,
    )
    return ours, theirs


def relative_distance(a, b):
    if torch.equal(a, b):  # zeros, too, which have no norm to divide by
        return 0.0
    a, b = a.double(), b.double()
    return ((a - b).norm() / b.norm()).item()


def step(model, images, labels):
    """Logits and all gradients."""
    model.zero_grad()
    logits = model(images)
    F.cross_entropy(logits, labels).backward()
    return logits


LABELS = torch.tensor([0, 6, 3])


def test_torchvision_has_all_that_the_catalogue_shares_with_it():
    assert set(THEIRS) == {
        net.name
        for net in NETS
        if net.stem == "imagenet" and net.shortcut == "B" and not net.block.startswith("preact")
    }


def test_names_order_and_shapes_of_the_state_dict_are_theirs(pair):
    ours, theirs = ([(n, t.shape) for n, t in m.state_dict().items()] for m in pair)
    assert ours == theirs


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_bit_for_bit_in_fp32(pair, training):
    ours, theirs = pair
    before = {name: t.clone() for name, t in theirs.state_dict().items()}
    torch.manual_seed(2)
    images = torch.randn(3, 3, 33, 48)
    logits = [step(model.train(training), images, LABELS) for model in pair]
    assert torch.equal(*logits)
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert torch.equal(p.grad, q.grad), name
    for (name, p), q in zip(ours.named_buffers(), theirs.buffers(), strict=True):
        assert torch.equal(p, q), name
    for model in pair:
        model.load_state_dict(before)


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_within_rounding_in_fp64_whatever_the_fast_path(pair, training):
    ours, theirs = pair
    state = {name: t.double() for name, t in theirs.state_dict().items()}
    torch.manual_seed(2)
    images = torch.randn(3, 3, 33, 48, dtype=torch.float64)
    reference = theirs.double()
    reference.load_state_dict(state)
    expected = step(reference.train(training), images, LABELS)
    ours.double()
    for path in ("as it is", "channels_last", "checkpointed"):
        ours.load_state_dict(state)
        layout = torch.channels_last if path == "channels_last" else torch.contiguous_format
        ours.to(memory_format=layout)
        ours.checkpoint_activations(None if path == "checkpointed" else 0)
        logits = step(ours.train(training), images.contiguous(memory_format=layout), LABELS)
        assert relative_distance(logits, expected) <= 1e-9, path
        for (name, p), q in zip(ours.named_parameters(), reference.parameters(), strict=True):
            assert relative_distance(p.grad, q.grad) <= 1e-9, (path, name)
        for (name, p), q in zip(ours.named_buffers(), reference.buffers(), strict=True):
            assert relative_distance(p, q) <= 1e-9, (path, name)
    for model in pair:
        model.zero_grad()
        model.float()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnext50_32x4d"])
@pytest.mark.parametrize("segments", [0, None], ids=["kept", "checkpointed"])
def test_compiled_within_rounding_in_fp64(name, segments):
    """Real code for forward and backward, in one piece, with and without checkpointing."""
    torch.manual_seed(1)
    theirs = getattr(torchvision.models, name)(num_classes=7)
    randomise_norms(theirs)
    ours = create_model(name, num_classes=7)
    ours.load_state_dict(theirs.state_dict())
    ours.double().train()
    theirs.double().train()
    ours.checkpoint_activations(segments)
    torch._dynamo.reset()
    compiled = torch.compile(ours, fullgraph=True, dynamic=False)
    images = torch.randn(3, 3, 33, 48, dtype=torch.float64)
    expected = step(theirs, images, LABELS)
    logits = compiled(images)
    F.cross_entropy(logits, LABELS).backward()
    assert relative_distance(logits, expected) <= 1e-9
    for (key, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert relative_distance(p.grad, q.grad) <= 1e-9, key
    for (key, p), q in zip(ours.named_buffers(), theirs.buffers(), strict=True):
        assert relative_distance(p, q) <= 1e-9, key
