"""From a net's name to the module: the only place that knows both the table and the class."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

from reslab.catalog import nets
from reslab.catalog.names import find
from reslab.catalog.nets import NETS, Activation, Initialisation, Net, Norm, Shortcut, Stem
from reslab.errors import UserError
from reslab.models.blocks import BasicBlock, Bottleneck, MakeBlock
from reslab.models.preact import PreActBasicBlock, PreActBottleneck
from reslab.models.pretrained import load_weights, warn_of_report
from reslab.models.resnet import ResNet

BLOCKS: dict[nets.Block, MakeBlock] = {
    "basic": BasicBlock,
    "bottleneck": Bottleneck,
    "preact_basic": PreActBasicBlock,
    "preact_bottleneck": PreActBottleneck,
}


def find_net(name: str) -> Net:
    """The table's entry of that name.

    Raises:
        UserError: for an unknown name, with the nearest one.
    """
    return find(NETS, name, "net")


def list_models(pattern: str = "*") -> list[str]:
    """Names of all nets that match a shell-style pattern, in the table's order.

    >>> list_models("resnet1??")
    ['resnet101', 'resnet152', 'resnet110']
    """
    return [net.name for net in NETS if fnmatchcase(net.name, pattern)]


def create_model(
    name: str,
    *,
    num_classes: int | None = None,
    in_channels: int = 3,
    weights: str | Path | None = None,
    stem: Stem | None = None,
    shortcut: Shortcut | None = None,
    widen: int = 1,
    norm: Norm = "batch",
    activation: Activation = "relu",
    dropout: float = 0.0,
    stochastic_depth: float = 0.0,
    zero_init_residual: bool = False,
    stride_in_1x1: bool = False,
    initialisation: Initialisation = "kaiming_fan_out",
) -> ResNet:
    """A net by its name, freshly initialised or with weights: a contiguous fp32 module.

    Args:
        name: see ``list_models``.
        num_classes: width of the head; None: that of the data the net was published with.
        in_channels: channels of the images.
        weights: ``imagenet``, a file or a run; a head for other classes and a stem for other
            channels are allowed for, and a warning tells of them. For a table, and for
            weights that fit in part, see ``reslab.load_weights``.
        stem: ``imagenet`` or ``small``; None: the net's own.
        shortcut: ``A``, ``B``, ``C``, ``conv3x3`` or ``none``; None: the net's own.
        widen: times the net's own channels, in the stem and every stage: the widening factor k
            of Zagoruyko and Komodakis (arXiv 1605.07146, section 2.2), whose stem stays as it is.
        norm: see ``ResNet``, as all that follow.
        activation: the nonlinearity throughout.
        dropout: before the head.
        stochastic_depth: of the last residual branch.
        zero_init_residual: start every residual branch at zero.
        stride_in_1x1: bottlenecks halve the image in their first 1x1 convolution, as the
            first paper has it, instead of in the 3x3 one, as torchvision has it.
        initialisation: scheme of the first weights.

    Raises:
        UserError: for an unknown name or an option that has no meaning for the net.
    """
    net = find_net(name)
    if widen < 1:
        raise UserError("widen multiplies channels", expected="1 or more", received=str(widen))
    if net.shortcut == "none" and shortcut not in (None, "none"):
        raise UserError(
            f"{name} is a plain net and has no shortcut",
            received=f"shortcut {shortcut}",
            remedy=f"create {name.replace('plain', 'resnet')}",
        )
    shortcut = net.shortcut if shortcut is None else shortcut
    model = ResNet(
        _block_of(net, stride_in_1x1=stride_in_1x1),
        net.depths,
        tuple(widen * width for width in net.widths),
        num_classes=net.num_classes if num_classes is None else num_classes,
        in_channels=in_channels,
        stem=net.stem if stem is None else stem,
        shortcut=shortcut,
        norm=norm,
        activation=activation,
        dropout=dropout,
        stochastic_depth=stochastic_depth,
        zero_init_residual=zero_init_residual,
        initialisation=initialisation,
    )
    model.identity = {
        "net": name,
        "shortcut": shortcut,
        "activation": activation,
        "stride_in_1x1": str(stride_in_1x1).lower(),
    }
    if weights is not None:
        if zero_init_residual or initialisation != "kaiming_fan_out":
            raise UserError(
                "weights replace what initialisation and zero_init_residual would draw",
                remedy="leave these options out, or the weights",
            )
        warn_of_report(load_weights(model, weights, net=name))
    return model


def _block_of(net: Net, *, stride_in_1x1: bool) -> MakeBlock:
    block = BLOCKS[net.block]
    if net.has_bottlenecks:
        return partial(
            block,
            groups=net.groups,
            width_per_group=net.width_per_group,
            stride_in_1x1=stride_in_1x1,
        )
    if stride_in_1x1:
        raise UserError(
            f"stride_in_1x1 has no meaning for {net.name}",
            received="basic blocks, which have no 1x1 convolution",
            remedy="turn stride_in_1x1 off or choose a net of 50 layers and more",
        )
    return block
