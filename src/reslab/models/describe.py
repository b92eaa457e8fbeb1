"""What a part of a net consists of, in the words of the papers' tables."""

from __future__ import annotations

from torch import nn

from reslab.models.blocks import Block
from reslab.models.preact import PreActivation
from reslab.models.stage import branch_convolutions

_NORMS: dict[type[nn.Module], str] = {
    nn.BatchNorm2d: "batch norm",
    nn.GroupNorm: "group norm",
}


def describe_layers(module: nn.Module) -> str:  # noqa: PLR0911 - one a kind of layer
    """One line on a child of a net; empty for what does nothing.

    A stage reads as in table 1 of arXiv 1512.03385: blocks x [convolutions of the branch].

    >>> describe_layers(nn.Conv2d(3, 64, 7, 2))
    '7x7, 64, stride 2'
    """
    match module:
        case nn.Sequential() if len(module) and isinstance(module[0], Block):
            return _describe_stage(list(module))
        case nn.Conv2d():
            return _convolution(module) + _stride(module)
        case nn.MaxPool2d():
            return f"{module.kernel_size}x{module.kernel_size} max pool, stride {module.stride}"
        case nn.AdaptiveAvgPool2d():
            return "global average pool"
        case nn.Linear():
            return f"fully connected, {module.out_features}"
        case nn.Dropout():
            return f"dropout {module.p:g}" if module.p else ""
        case PreActivation():
            parts = [describe_layers(module.norm), describe_layers(module.activation)]
            return ", ".join(part for part in parts if part)
        case nn.Identity():
            return ""
    return _NORMS.get(type(module), type(module).__name__)


def _describe_stage(blocks: list[nn.Module]) -> str:
    """The blocks alike are told by the last one, what differs in the first beside it."""
    first, last = (branch_convolutions(block) for block in (blocks[0], blocks[-1]))
    text = f"{len(blocks)} x [{'; '.join(map(_convolution, last))}]"
    strided = next((c for c in first if c.stride[0] > 1), None)
    if strided is None:
        return text
    size = f"{strided.kernel_size[0]}x{strided.kernel_size[1]}"
    return f"{text}, stride {strided.stride[0]} in the first {size}"


def _convolution(layer: nn.Conv2d) -> str:
    groups = f", {layer.groups} groups" if layer.groups > 1 else ""
    return f"{layer.kernel_size[0]}x{layer.kernel_size[1]}, {layer.out_channels}{groups}"


def _stride(layer: nn.Conv2d) -> str:
    return f", stride {layer.stride[0]}" if layer.stride[0] > 1 else ""
