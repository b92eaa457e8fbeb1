import torch

from reslab.ops.shortcut import padded


def test_every_nth_pixel_and_zeros_behind():
    x = torch.arange(1.0, 31.0).reshape(1, 2, 3, 5)
    found = padded(x, 2, 1)
    expected = torch.tensor(
        [[[[1, 3, 5], [11, 13, 15]], [[16, 18, 20], [26, 28, 30]], [[0, 0, 0], [0, 0, 0]]]]
    )
    assert torch.equal(found, expected.float())
    assert torch.equal(padded(x, 1, 0), x)
