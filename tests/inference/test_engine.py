import numpy as np
import pytest
from torch import nn

from reslab.errors import ReslabError
from reslab.inference.engine import evaluation_mode, fill_up


def test_each_module_gets_back_its_own_mode():
    model = nn.Sequential(nn.Dropout(), nn.Sequential(nn.ReLU(), nn.BatchNorm2d(2))).train()
    model[1][1].eval()
    before = [module.training for module in model.modules()]
    assert len(set(before)) == 2
    with evaluation_mode(model):
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model.modules()] == before
    with pytest.raises(KeyError), evaluation_mode(model):
        raise KeyError
    assert [module.training for module in model.modules()] == before


def test_a_part_that_stays_in_training_mode_is_refused_and_the_rest_put_back():
    class Stubborn(nn.BatchNorm2d):
        def train(self, mode=True):
            return super().train(True)

    model = nn.Sequential(nn.Dropout(), Stubborn(2)).train()
    with pytest.raises(ReslabError, match="evaluation mode"), evaluation_mode(model):
        pass
    assert all(module.training for module in model.modules())


def test_images_come_over_and_over_until_there_are_enough():
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 1, 2, 3)
    np.testing.assert_array_equal(fill_up(pixels, 5), pixels[[0, 1, 0, 1, 0]])
    np.testing.assert_array_equal(fill_up(pixels, 1), pixels[:1])
    assert fill_up(pixels, 2) is pixels
