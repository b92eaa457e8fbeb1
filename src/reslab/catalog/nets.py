"""The residual nets that have a name, as literals: a new net is one line of ``NETS``.

Torch-free, so that ``reslab --help`` and spec validation can read it at no cost.

Sources:
    He et al., *Deep Residual Learning for Image Recognition* (arXiv 1512.03385): table 1 for
    the ImageNet nets, section 4.2 for the 6n+2 nets of CIFAR.
    He et al., *Identity Mappings in Deep Residual Networks* (arXiv 1603.05027): the
    pre-activation nets; tables 4 and 5.
    Zagoruyko and Komodakis, *Wide Residual Networks* (arXiv 1605.07146): wide_resnet.
    Xie et al., *Aggregated Residual Transformations* (arXiv 1611.05431): resnext.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Block = Literal["basic", "bottleneck", "preact_basic", "preact_bottleneck"]
Shortcut = Literal["A", "B", "C", "conv3x3", "none"]
Stem = Literal["imagenet", "small"]
Norm = Literal["batch", "group", "none"]
Activation = Literal["relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid"]
Initialisation = Literal[
    "kaiming_fan_out", "kaiming_fan_in", "xavier", "lecun", "orthogonal", "gaussian"
]

SHORTCUTS: tuple[str, ...] = get_args(Shortcut)
STEMS: tuple[str, ...] = get_args(Stem)


@dataclass(frozen=True, kw_only=True)
class Net:
    """What defines a residual net, short of its input channels and classes.

    Attributes:
        name: the name under which the net is created.
        block: the residual block's name in ``reslab.models.create.BLOCKS``.
        depths: blocks in each stage.
        widths: channels of each stage's blocks, before a bottleneck's expansion.
        groups: groups of a bottleneck's 3x3 convolution (ResNeXt's cardinality).
        width_per_group: channels of each group where ``widths`` says 64; wider stages in
            proportion.
        stem: ``imagenet`` (7x7 stride 2, max pool) or ``small`` (3x3 stride 1).
        shortcut: the shortcut where a block changes the shape; ``none`` makes the plain twin.
        num_classes: classes of the data that the source trained it on.
        image_size: side of the square images that the source trained it on, in pixels.
    """

    name: str
    block: Block
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    groups: int = 1
    width_per_group: int = 64
    stem: Stem
    shortcut: Shortcut
    num_classes: int
    image_size: int

    @property
    def has_bottlenecks(self) -> bool:
        """Whether blocks are 1x1, 3x3 and 1x1 convolutions instead of two 3x3 ones."""
        return self.block.endswith("bottleneck")

    @property
    def convolutions(self) -> int:
        """Convolutions of all residual branches."""
        return (3 if self.has_bottlenecks else 2) * sum(self.depths)


def _imagenet(
    name: str,
    depths: tuple[int, ...],
    block: Block = "basic",
    *,
    shortcut: Shortcut = "B",
    groups: int = 1,
    width_per_group: int = 64,
) -> Net:
    """A net of table 1, or its kin: four stages behind the 7x7 stem."""
    return Net(
        name=name,
        block=block,
        depths=depths,
        widths=(64, 128, 256, 512),
        groups=groups,
        width_per_group=width_per_group,
        stem="imagenet",
        shortcut=shortcut,
        num_classes=1000,
        image_size=224,
    )


def _cifar(name: str, n: int, block: Block = "basic", *, shortcut: Shortcut = "A") -> Net:
    """A net of section 4.2: three stages of n blocks, 6n+2 weighted layers (9n+2 bottlenecks)."""
    return Net(
        name=name,
        block=block,
        depths=(n, n, n),
        widths=(16, 32, 64),
        stem="small",
        shortcut=shortcut,
        num_classes=10,
        image_size=32,
    )


NETS: tuple[Net, ...] = (
    _imagenet("resnet18", (2, 2, 2, 2)),
    _imagenet("resnet34", (3, 4, 6, 3)),
    _imagenet("resnet50", (3, 4, 6, 3), "bottleneck"),
    _imagenet("resnet101", (3, 4, 23, 3), "bottleneck"),
    _imagenet("resnet152", (3, 8, 36, 3), "bottleneck"),
    _imagenet("plain18", (2, 2, 2, 2), shortcut="none"),
    _imagenet("plain34", (3, 4, 6, 3), shortcut="none"),
    _cifar("resnet14", 2),
    _cifar("resnet20", 3),
    _cifar("resnet32", 5),
    _cifar("resnet44", 7),
    _cifar("resnet56", 9),
    _cifar("resnet110", 18),
    _cifar("resnet1202", 200),
    _cifar("plain14", 2, shortcut="none"),
    _cifar("plain20", 3, shortcut="none"),
    _cifar("plain32", 5, shortcut="none"),
    _cifar("plain44", 7, shortcut="none"),
    _cifar("plain56", 9, shortcut="none"),
    _cifar("plain110", 18, shortcut="none"),
    _imagenet("preact_resnet18", (2, 2, 2, 2), "preact_basic"),
    _imagenet("preact_resnet34", (3, 4, 6, 3), "preact_basic"),
    _imagenet("preact_resnet50", (3, 4, 6, 3), "preact_bottleneck"),
    _imagenet("preact_resnet101", (3, 4, 23, 3), "preact_bottleneck"),
    _imagenet("preact_resnet152", (3, 8, 36, 3), "preact_bottleneck"),
    _cifar("preact_resnet110", 18, "preact_basic"),
    # The authors' code for these two projects where the shape changes.
    _cifar("preact_resnet164", 18, "preact_bottleneck", shortcut="B"),
    _cifar("preact_resnet1001", 111, "preact_bottleneck", shortcut="B"),
    _imagenet("wide_resnet50_2", (3, 4, 6, 3), "bottleneck", width_per_group=128),
    _imagenet("wide_resnet101_2", (3, 4, 23, 3), "bottleneck", width_per_group=128),
    _imagenet("resnext50_32x4d", (3, 4, 6, 3), "bottleneck", groups=32, width_per_group=4),
    _imagenet("resnext101_32x8d", (3, 4, 23, 3), "bottleneck", groups=32, width_per_group=8),
    _imagenet("resnext101_64x4d", (3, 4, 23, 3), "bottleneck", groups=64, width_per_group=4),
)
