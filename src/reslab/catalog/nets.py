"""The residual nets that have a name, as literals: a new net is one line of ``NETS``.

Torch-free, so that ``reslab --help`` and spec validation can read it at no cost.

Sources: He et al., *Deep Residual Learning for Image Recognition* (arXiv 1512.03385),
table 1 for the ImageNet nets, section 4.2 for the 6n+2 nets of CIFAR.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Shortcut = Literal["A", "B", "conv3x3", "none"]
Stem = Literal["imagenet", "small"]

SHORTCUTS: tuple[str, ...] = get_args(Shortcut)
STEMS: tuple[str, ...] = get_args(Stem)


@dataclass(frozen=True, kw_only=True)
class Net:
    """What defines a residual net, short of its input channels and classes.

    Attributes:
        name: the name under which the net is created.
        block: the residual block's name in ``reslab.models.blocks.BLOCKS``.
        depths: blocks in each stage.
        widths: channels of each stage's blocks.
        stem: ``imagenet`` (7x7 stride 2, max pool) or ``small`` (3x3 stride 1).
        shortcut: the shortcut where a block changes the shape; ``none`` makes the plain twin.
        num_classes: classes of the data that the source trained it on.
        image_size: side of the square images that the source trained it on, in pixels.
    """

    name: str
    block: Literal["basic"] = "basic"
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    stem: Stem
    shortcut: Shortcut
    num_classes: int
    image_size: int


def _imagenet(name: str, depths: tuple[int, ...], shortcut: Shortcut) -> Net:
    """A net of table 1: four stages behind the 7x7 stem."""
    return Net(
        name=name,
        depths=depths,
        widths=(64, 128, 256, 512),
        stem="imagenet",
        shortcut=shortcut,
        num_classes=1000,
        image_size=224,
    )


def _six_n_plus_two(name: str, n: int, shortcut: Shortcut) -> Net:
    """A net of section 4.2: three stages of n blocks, 6n+2 weighted layers in all."""
    return Net(
        name=name,
        depths=(n, n, n),
        widths=(16, 32, 64),
        stem="small",
        shortcut=shortcut,
        num_classes=10,
        image_size=32,
    )


NETS: tuple[Net, ...] = (
    _imagenet("resnet18", (2, 2, 2, 2), "B"),
    _imagenet("resnet34", (3, 4, 6, 3), "B"),
    _imagenet("plain18", (2, 2, 2, 2), "none"),
    _imagenet("plain34", (3, 4, 6, 3), "none"),
    _six_n_plus_two("resnet14", 2, "A"),
    _six_n_plus_two("resnet20", 3, "A"),
    _six_n_plus_two("resnet32", 5, "A"),
    _six_n_plus_two("resnet44", 7, "A"),
    _six_n_plus_two("resnet56", 9, "A"),
    _six_n_plus_two("resnet110", 18, "A"),
    _six_n_plus_two("plain14", 2, "none"),
    _six_n_plus_two("plain20", 3, "none"),
    _six_n_plus_two("plain32", 5, "none"),
    _six_n_plus_two("plain44", 7, "none"),
    _six_n_plus_two("plain56", 9, "none"),
    _six_n_plus_two("plain110", 18, "none"),
)
