import torch
from torch import nn

from reslab.models.blocks import BasicBlock, Bottleneck
from reslab.models.stage import Stage, branch_convolutions, channels_kept


def test_blocks_run_one_after_the_other_with_and_without_segments():
    torch.manual_seed(0)
    stage = Stage(*(nn.Conv2d(2, 2, 3, padding=1) for _ in range(3)))
    x = torch.randn(1, 2, 5, 5)
    expected = stage[2](stage[1](stage[0](x)))
    assert torch.equal(stage(x), expected)
    stage.segments = (2, 1)
    assert torch.equal(stage(x), expected)


def test_segments_are_used_only_where_gradients_are(monkeypatch):
    stage = Stage(nn.Identity(), nn.Identity())
    stage.segments = (2,)
    used = []
    monkeypatch.setattr(
        "reslab.models.stage.run_in_segments", lambda blocks, x, sizes: used.append(sizes) or x
    )
    with torch.no_grad():
        stage(torch.zeros(1))
    assert used == []
    stage(torch.zeros(1))
    assert used == [(2,)]


def test_a_block_keeps_what_its_convolutions_give():
    assert channels_kept(BasicBlock(4, 8, 2)) == 8 + 8 + 8
    assert channels_kept(Bottleneck(32, 8)) == 8 + 8 + 32
    assert channels_kept(nn.ReLU()) == 1


def test_the_shortcut_is_no_part_of_the_branch():
    block = Bottleneck(16, 8, 2)
    assert branch_convolutions(block) == [block.conv1, block.conv2, block.conv3]
