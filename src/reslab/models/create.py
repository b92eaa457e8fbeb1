"""From a net's name to the module: the only place that knows both the table and the class."""

from __future__ import annotations

from fnmatch import fnmatchcase

from reslab.catalog.names import find
from reslab.catalog.nets import NETS, Net, Shortcut, Stem
from reslab.models.blocks import BLOCKS
from reslab.models.resnet import ResNet


def find_net(name: str) -> Net:
    """The table's entry of that name.

    Raises:
        UserError: for an unknown name, with the nearest one.
    """
    return find(NETS, name, "net")


def list_models(pattern: str = "*") -> list[str]:
    """Names of all nets that match a shell-style pattern, in the table's order.

    >>> list_models("resnet1*")
    ['resnet18', 'resnet14', 'resnet110']
    """
    return [net.name for net in NETS if fnmatchcase(net.name, pattern)]


def create_model(
    name: str,
    *,
    num_classes: int | None = None,
    in_channels: int = 3,
    stem: Stem | None = None,
    shortcut: Shortcut | None = None,
    zero_init_residual: bool = False,
) -> ResNet:
    """A net by its name, freshly initialised: an ordinary contiguous fp32 module.

    Args:
        name: see ``list_models``.
        num_classes: width of the head; None: that of the data the net was published with.
        in_channels: channels of the images.
        stem: ``imagenet`` or ``small``; None: the net's own.
        shortcut: ``A``, ``B``, ``conv3x3`` or ``none``; None: the net's own.
        zero_init_residual: see ``ResNet``.

    Raises:
        UserError: for an unknown name or an option that has no meaning for the net.
    """
    net = find_net(name)
    return ResNet(
        BLOCKS[net.block],
        net.depths,
        net.widths,
        num_classes=net.num_classes if num_classes is None else num_classes,
        in_channels=in_channels,
        stem=net.stem if stem is None else stem,
        shortcut=net.shortcut if shortcut is None else shortcut,
        zero_init_residual=zero_init_residual,
    )
