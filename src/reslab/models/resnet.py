"""The one residual net: stem, stages of blocks, global average pool, linear head.

Everything that differs between the members of the family is an argument; the table of
members is ``reslab.catalog.nets``. Plain nets are ``shortcut="none"``.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from reslab.catalog.nets import STEMS, Shortcut, Stem
from reslab.errors import UserError
from reslab.models.blocks import MakesBlocks


class ResNet(nn.Module):
    """A residual net for square or oblong images, (N, in_channels, H, W) to logits (N, K).

    Sub-module names equal torchvision's ``ResNet``: conv1, bn1, layer1 … layerS, fc.

    Args:
        block: the residual block's class.
        depths: blocks in each stage.
        widths: channels of each stage; every stage after the first halves H and W.
        num_classes: K, the width of the head.
        in_channels: channels of the images (1 grey, 3 colour, or any number).
        stem: ``imagenet``: 7x7 convolution of stride 2 and a 3x3 max pool of stride 2;
            ``small``: 3x3 convolution of stride 1 and no pool (He et al. 2015, section 4.2).
        shortcut: see ``reslab.models.blocks.make_shortcut``.
        zero_init_residual: start each residual branch at F(x) = 0 by a zero scale in its
            last norm (Goyal et al., arXiv 1706.02677, section 5.1).

    Raises:
        UserError: for sizes below 1, an unknown stem or shortcut, or zero initialisation
            of a plain net, whose output would be zero for ever.
    """

    def __init__(
        self,
        block: MakesBlocks,
        depths: Sequence[int],
        widths: Sequence[int],
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
        stem: Stem = "imagenet",
        shortcut: Shortcut = "B",
        zero_init_residual: bool = False,
    ) -> None:
        super().__init__()
        _check_sizes(depths, widths, num_classes, in_channels)
        if stem not in STEMS:
            raise UserError(f"unknown stem {stem!r}", expected=f"one of {', '.join(STEMS)}")
        if zero_init_residual and shortcut == "none":
            raise UserError(
                "zero_init_residual needs a shortcut",
                received="shortcut none, with which the net would only ever give zeros",
                remedy="turn zero_init_residual off or choose another shortcut",
            )
        channels = widths[0]
        if stem == "imagenet":
            self.conv1 = nn.Conv2d(in_channels, channels, 7, 2, padding=3, bias=False)
            self.maxpool: nn.Module = nn.MaxPool2d(3, 2, padding=1)
        else:
            self.conv1 = nn.Conv2d(in_channels, channels, 3, 1, padding=1, bias=False)
            self.maxpool = nn.Identity()
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.stage_names = tuple(f"layer{i}" for i in range(1, len(depths) + 1))
        for i, (name, depth, width) in enumerate(
            zip(self.stage_names, depths, widths, strict=True)
        ):
            blocks = []
            for j in range(depth):
                stride = 2 if i > 0 and j == 0 else 1
                blocks.append(block(channels, width, stride, shortcut))
                channels = width * block.expansion
            self.add_module(name, nn.Sequential(*blocks))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes)
        self._initialise(zero_init_residual)

    def _initialise(self, zero_init_residual: bool) -> None:
        # He et al., arXiv 1502.01852, equation 15, in the fan-out mode that torchvision uses.
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if zero_init_residual:
            for module in self.modules():
                last_norm = getattr(module, "last_norm", None)
                if callable(last_norm):
                    nn.init.zeros_(last_norm().weight)

    def forward(self, images_NCHW: Tensor) -> Tensor:
        """Normalised images (N, in_channels, H, W), float, to logits (N, K)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images_NCHW))))
        for name in self.stage_names:
            x = self.get_submodule(name)(x)
        logits_NK: Tensor = self.fc(self.avgpool(x).flatten(1))
        return logits_NK


def _check_sizes(
    depths: Sequence[int], widths: Sequence[int], num_classes: int, in_channels: int
) -> None:
    sizes = {
        "depths": [*depths],
        "widths": [*widths],
        "num_classes": [num_classes],
        "in_channels": [in_channels],
    }
    for name, values in sizes.items():
        if not values or any(not isinstance(v, int) or v < 1 for v in values):
            raise UserError(f"{name} must be whole numbers of at least 1", received=repr(values))
    if len(depths) != len(widths):
        raise UserError(
            "depths and widths must name the same stages",
            received=f"{len(depths)} depths and {len(widths)} widths",
        )
