from functools import partial

import numpy as np
import pytest
import torch

from reslab.errors import UserError
from reslab.models.blocks import BasicBlock, Block
from reslab.models.checks import (
    channels_of,
    check_block,
    check_counts,
    check_images,
    check_plain,
    check_probabilities,
    check_sizes,
    class_of,
    is_count,
)


@pytest.mark.parametrize("value", [1, 7, np.int64(3)])
def test_whole_numbers_count(value):
    assert is_count(value, least=1)
    check_counts("depths", [value])


@pytest.mark.parametrize("value", [0, -1, True, 2.0, "3", None])
def test_other_things_do_not(value):
    assert not is_count(value, least=1)
    with pytest.raises(UserError, match=r"depths must be whole numbers of at least 1"):
        check_counts("depths", [2, value])


def test_the_least_is_a_count():
    assert is_count(0, least=0)
    assert not is_count(1, least=2)


def test_stages_have_a_depth_and_a_width_each():
    check_sizes((1, 2), (3, 4), 5, 6)
    with pytest.raises(UserError, match="2 depths and 1 widths"):
        check_sizes((1, 2), (3,), 5, 6)
    with pytest.raises(UserError, match="num_classes must be"):
        check_sizes((1,), (3,), 0, 6)
    with pytest.raises(UserError, match="depths has one number for each stage"):
        check_sizes(2, (3,), 5, 6)


@pytest.mark.parametrize("value", [1, -0.1, float("nan"), "0.5", None])
def test_probabilities_lie_below_1(value):
    check_probabilities(dropout=0, stochastic_depth=0.999)
    with pytest.raises(UserError, match=r"dropout must be a probability below 1"):
        check_probabilities(dropout=value)


def test_plain_nets_refuse_what_is_on():
    check_plain(zero_init_residual=False)
    with pytest.raises(UserError, match="zero_init_residual needs a shortcut"):
        check_plain(stochastic_depth=False, zero_init_residual=True)


def test_a_class_is_found_within_partials():
    assert class_of(BasicBlock) is BasicBlock
    assert class_of(partial(partial(BasicBlock, stride=2), shortcut="A")) is BasicBlock
    for other in (len, torch.nn.ReLU, "basic"):
        with pytest.raises(UserError, match="the net is made of blocks"):
            class_of(other)


def test_a_block_takes_what_the_net_gives_it():
    class Narrow(Block):
        def __init__(self, in_channels, channels, stride):
            super().__init__()

    check_block(partial(BasicBlock, shortcut="A"), shortcut="B")
    with pytest.raises(UserError, match=r"Narrow .* norm\), received .*; let it take \*\*options"):
        check_block(Narrow, norm=None)
    with pytest.raises(UserError, match=r"Narrow does not say .* received None; set self.out_ch"):
        channels_of(Narrow(1, 1, 1))
    assert channels_of(BasicBlock(2, 3)) == 3


def test_images_have_the_nets_channels():
    check_images(torch.zeros(0, 2, 1, 1), 2, torch.float32)
    with pytest.raises(UserError, match=r"received \(1, 3, 4, 4\); create .* in_channels=3"):
        check_images(torch.zeros(1, 3, 4, 4), 2, torch.float32)
    with pytest.raises(UserError, match=r"permute\(0, 3, 1, 2\)"):
        check_images(torch.zeros(1, 4, 4, 2), 2, torch.float32)
    with pytest.raises(UserError, match=r"images\[None\]"):
        check_images(torch.zeros(2, 4, 4), 2, torch.float32)
    with pytest.raises(UserError, match=r"received \(1, 2, 0, 2\)$"):
        check_images(torch.zeros(1, 2, 0, 2), 2, torch.float32)
    with pytest.raises(UserError, match=r"images.to\(torch.float32\)"):
        check_images(torch.zeros(1, 2, 4, 4, dtype=torch.float64), 2, torch.float32)
