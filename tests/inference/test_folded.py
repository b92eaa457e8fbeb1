import numpy as np
import pytest
import torch
from torch import nn

import reslab
from reslab.inference.folded import fold


def norms(model):
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())


def unsettle(model):
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 2)
            module.bias.data.normal_()
    return model.eval()


def check_same(model, images):
    model = unsettle(model).double()
    folded = fold(model)
    with torch.no_grad():
        torch.testing.assert_close(folded(images), model(images), rtol=1e-9, atol=1e-9)
    return folded


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("resnet20", 0),
        ("resnet18", 0),
        ("resnext50_32x4d", 0),
        ("plain14", 0),
        # The first norm of each block but the first, and that before the pool, take a sum; the
        # second of each block takes a convolution.
        ("preact_resnet18", 8),
    ],
)
def test_all_that_stand_behind_a_convolution_are_folded(name, left):
    torch.manual_seed(0)
    model = reslab.create_model(name, num_classes=5)
    folded = check_same(model, torch.randn(2, 3, 40, 40, dtype=torch.float64))
    assert norms(folded) == left < norms(model)


def test_by_hand():
    convolution, norm = nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1, eps=0.0)
    with torch.no_grad():
        convolution.weight.fill_(3.0)
        norm.running_mean.fill_(2.0)
        norm.running_var.fill_(4.0)
        norm.weight.fill_(10.0)
        norm.bias.fill_(7.0)
    folded = fold(nn.Sequential(convolution, norm).eval())
    (layer,) = (m for m in folded.modules() if isinstance(m, nn.Conv2d))
    # (3 x - 2) / 2 · 10 + 7 = 15 x - 3
    assert (layer.weight.item(), layer.bias.item()) == (15.0, -3.0)


class Seen(nn.Module):
    """A convolution whose output somebody else sees too."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x):
        out = self.conv(x)
        return self.norm(out) + out


class Twice(Seen):
    """A convolution and a norm that are used again by themselves."""

    def forward(self, x):
        return self.norm(self.conv(self.norm(self.conv(x))))


class SharedNorm(Seen):
    """Two convolutions before the same norm."""

    def __init__(self):
        super().__init__()
        self.other = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return self.norm(self.other(self.norm(self.conv(x))))


def test_a_norm_may_serve_two_convolutions():
    torch.manual_seed(0)
    folded = check_same(SharedNorm(), torch.randn(2, 3, 4, 4, dtype=torch.float64))
    assert norms(folded) == 0


class OfTheBatch(Seen):
    """A norm without running statistics, that of the batch in evaluation too."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3, track_running_stats=False)

    def forward(self, x):
        return self.norm(self.conv(x))


class Undecided(Seen):
    """What it does depends on the images, so that it cannot be traced."""

    def forward(self, x):
        return self.norm(self.conv(x)) if x.sum() > 0 else x


@pytest.mark.parametrize("kind", [Seen, Twice, OfTheBatch, Undecided])
def test_where_folding_would_be_wrong_it_is_not_done(kind):
    torch.manual_seed(0)
    model = kind()
    if kind is not OfTheBatch:
        unsettle(model)
    model.double().eval()
    folded = fold(model)
    assert norms(folded) == 1
    for sign in (1, -1):
        images = sign * torch.rand(2, 3, 4, 4, dtype=torch.float64)
        with torch.no_grad():
            torch.testing.assert_close(folded(images), model(images))


def test_the_net_itself_is_not_touched():
    model = unsettle(reslab.create_model("resnet14", num_classes=3))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    parts = list(model.modules())
    folded = fold(model)
    assert list(model.modules()) == parts
    assert not {id(t) for t in folded.parameters()} & {id(t) for t in model.parameters()}
    with torch.no_grad():
        for tensor in folded.parameters():
            tensor.zero_()
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_later_training_mode_of_the_net_does_not_reach_it():
    torch.manual_seed(0)
    model = unsettle(reslab.create_model("resnet14", num_classes=3, dropout=0.9))
    folded = fold(model)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = model(images).numpy()
        model.train()
        np.testing.assert_allclose(folded(images), expected, rtol=1e-4, atol=1e-5)
