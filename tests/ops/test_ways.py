import pytest
import torch
from torch import nn

from reslab.ops import strided, winograd
from reslab.ops.ways import possible_way, way_for


@pytest.mark.parametrize(
    ("channels", "options", "size", "way"),
    [
        ((16, 16), {"padding": 1}, 8, winograd),
        ((256, 256), {"padding": 1}, 8, winograd),
        ((16, 16), {"padding": 1}, 2, None),  # more of the tiles would lie outside than inside
        ((16, 32), {"padding": 1}, 8, None),
        ((16, 16), {"padding": 1, "groups": 2}, 8, None),
        ((16, 32), {"padding": 1, "stride": 2}, 8, strided),
        ((16, 32), {"padding": 1, "stride": 2}, 1, strided),
        ((64, 128), {"padding": 1, "stride": 2}, 8, None),
    ],
)
def test_each_convolution_has_its_way(channels, options, size, way):
    conv = nn.Conv2d(*channels, 3, bias=False, **options)
    assert way_for(conv, torch.empty(1, channels[0], size, size)) is way
    # What is packed before any input is seen is what is asked for then.
    assert way in (None, possible_way(conv))


def test_where_none_is_possible_none_is_packed():
    assert possible_way(nn.Conv2d(16, 32, 1)) is None
    assert possible_way(nn.Conv2d(16, 16, 3, padding=1)) is winograd
