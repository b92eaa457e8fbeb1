import pytest
import torch
from torch import nn

from reslab.models.create import create_model
from reslab.models.match import adapt_channels, is_counter, match


@pytest.mark.parametrize(("old", "new"), [(1, 3), (3, 6), (3, 1)])
def test_equal_channels_give_the_same_through_an_adapted_stem(old, new):
    weight = torch.randn(4, old, 3, 3)
    grey = torch.randn(1, 1, 6, 6)
    before = nn.functional.conv2d(grey.expand(-1, old, -1, -1), weight)
    after = nn.functional.conv2d(grey.expand(-1, new, -1, -1), adapt_channels(weight, new))
    torch.testing.assert_close(before, after)


def test_channels_are_repeated_in_turn():
    weight = torch.randn(2, 3, 1, 1)
    assert torch.equal(adapt_channels(weight, 4), weight[:, [0, 1, 2, 0]] * 0.75)


def test_a_stem_without_channels_is_not_adapted():
    own = create_model("resnet14").state_dict()
    _, fates = match(own, {"conv1.weight": torch.zeros(16, 0, 3, 3)})
    assert fates[0].fate == "kept"


def test_only_the_first_convolution_is_adapted():
    own = create_model("resnet14").state_dict()
    _, fates = match(own, {"layer1.0.conv1.weight": torch.zeros(16, 3, 3, 3)})
    told = {t.name: t for t in fates}
    assert told["layer1.0.conv1.weight"].fate == "kept"
    assert told["layer1.0.conv1.weight"].why == "shape (16, 3, 3, 3) there, (16, 16, 3, 3) here"


def test_counters_are_known_by_their_name():
    assert is_counter("layer1.0.bn1.num_batches_tracked")
    assert not is_counter("layer1.0.bn1.running_mean")


def test_matching_changes_nothing():
    torch.manual_seed(0)
    model, other = create_model("resnet14"), create_model("resnet14")
    before = {name: t.clone() for name, t in model.state_dict().items()}
    chosen, fates = match(model.state_dict(), other.state_dict())
    assert chosen.keys() == before.keys()
    assert {fate.fate for fate in fates} == {"loaded"}
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
