"""What a net costs: parameters and multiply-adds, found without running it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reslab.errors import UserError


@dataclass(frozen=True, kw_only=True)
class StageCost:
    """One line of a net's stage table.

    Attributes:
        name: the sub-module.
        output: (C, H, W) of what it gives, or (K,) for the head.
        parameters: learnable numbers in it.
        macs: multiply-adds of its convolutions and linear layers for one image.
    """

    name: str
    output: tuple[int, ...]
    parameters: int
    macs: int


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a net costs for one image; norms, activations and additions are not counted."""

    parameters: int
    macs: int
    stages: tuple[StageCost, ...]


def measure_cost(build: Callable[[], nn.Module], in_channels: int, image_size: int) -> Cost:
    """Count a net's parameters and multiply-adds on the meta device, where nothing is computed.

    Args:
        build: makes the net; called with the meta device as the default.
        in_channels: channels of the image.
        image_size: side of the square image in pixels.

    Raises:
        UserError: where the image is too small for the net.
    """
    if image_size < 1:
        raise UserError("images have at least one pixel", received=str(image_size))
    with torch.device("meta"):
        model = build().eval()
        image_1CHW = torch.empty(1, in_channels, image_size, image_size)
    macs: dict[str, int] = {}
    outputs: dict[str, tuple[int, ...]] = {}

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def count(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
            outputs[name] = tuple(output.shape[1:])
            if isinstance(module, nn.Conv2d | nn.Linear):
                # Each output element is one dot product over a filter's or row's weights.
                macs[name] = macs.get(name, 0) + output.numel() * module.weight[0].numel()

        return count

    for name, module in model.named_modules():
        module.register_forward_hook(hook(name))
    try:
        with torch.no_grad():
            model(image_1CHW)
    except RuntimeError as error:
        raise UserError(
            f"the net cannot take images of {image_size} pixels", received=str(error)
        ) from error
    children = dict(model.named_children())
    stages = tuple(
        StageCost(
            name=name,
            output=outputs[name],
            parameters=sum(p.numel() for p in child.parameters()),
            macs=sum(m for n, m in macs.items() if n == name or n.startswith(f"{name}.")),
        )
        for name in outputs  # hooks run in the order of the forward pass
        if (child := children.get(name)) is not None
    )
    return Cost(
        parameters=sum(p.numel() for p in model.parameters()),
        macs=sum(macs.values()),
        stages=stages,
    )
