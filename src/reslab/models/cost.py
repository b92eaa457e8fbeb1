"""What a net costs: parameters, multiply-adds and activations, found without running it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from reslab.errors import UserError
from reslab.models.describe import describe_layers
from reslab.models.fused import fused_convolutions
from reslab.ops.scratch import Scratch, scratch_of

# The part of a net that a tensor belongs to where no sub-module is at work.
_NET = ""

# Enough to tell what grows with the batch from what does not.
_IMAGES = 2


@dataclass(frozen=True, kw_only=True)
class StageCost:
    """One line of a net's stage table.

    Attributes:
        name: the sub-module.
        layers: what it consists of, see ``reslab.models.describe``.
        output: (C, H, W) of what it gives, or (K,) for the head.
        parameters: learnable numbers in it.
        macs: multiply-adds of its convolutions and linear layers for one image.
        activation_bytes: what it keeps of one image for the backward, in fp32.
    """

    name: str
    layers: str
    output: tuple[int, ...]
    parameters: int
    macs: int
    activation_bytes: int


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a net costs for one image.

    Attributes:
        parameters: learnable numbers.
        macs: multiply-adds of convolutions and linear layers; norms, activations and
            additions are not counted.
        activation_bytes: what an ordinary training step in fp32 keeps of one image from the
            forward for the backward, weights and what does not grow with the batch left out.
        scratch: what its kinds of convolutions need besides where reslab's kernels compute them.
        stages: the same by sub-module, in the order of the forward pass.
    """

    parameters: int
    macs: int
    activation_bytes: int
    scratch: tuple[Scratch, ...] = ()
    stages: tuple[StageCost, ...]


def measure_cost(build: Callable[[], nn.Module], in_channels: int, image_size: int) -> Cost:
    """Count what a net costs on the meta device, where nothing is computed.

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
        model = build().train()
        images_NCHW = torch.empty(_IMAGES, in_channels, image_size, image_size)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            # It keeps the same either way, and refuses single values a channel in training.
            module.eval()
    try:
        macs, outputs, kept, scratch = _trace(model, images_NCHW)
    except RuntimeError as error:
        raise UserError(
            f"the net cannot take images of {image_size} pixels", received=str(error)
        ) from error
    children = dict(model.named_children())
    stages = tuple(
        StageCost(
            name=name,
            layers=describe_layers(child),
            output=outputs[name],
            parameters=sum(p.numel() for p in child.parameters()),
            macs=sum(m for n, m in macs.items() if n.partition(".")[0] == name),
            activation_bytes=kept[name],
        )
        for name in outputs  # in the order of the forward pass
        if (child := children.get(name)) is not None
    )
    return Cost(
        parameters=sum(p.numel() for p in model.parameters()),
        macs=sum(macs.values()),
        activation_bytes=kept.total(),
        scratch=scratch,
        stages=stages,
    )


def _trace(
    model: nn.Module, images_NCHW: Tensor
) -> tuple[Counter[str], dict[str, tuple[int, ...]], Counter[str], tuple[Scratch, ...]]:
    """One forward: multiply-adds, outputs and bytes kept of one image, by the module's name.

    Each storage that autograd keeps counts once, for the child of the net that first kept it.
    Beside them what the kinds of convolutions need of scratch.
    """
    weights = {t.untyped_storage()._cdata for t in [*model.parameters(), *model.buffers()]}
    macs: Counter[str] = Counter()
    outputs: dict[str, tuple[int, ...]] = {}
    kept: Counter[str] = Counter()
    scratch: dict[Scratch, None] = {}
    fused = fused_convolutions(model)
    held: dict[int, Tensor] = {}
    at_work = [_NET]

    def enter(name: str) -> Callable[..., None]:
        return lambda *_: at_work.append(name)

    def leave(name: str) -> Callable[..., None]:
        def record(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            at_work.pop()
            outputs[name] = tuple(output.shape[1:])
            if isinstance(module, nn.Conv2d | nn.Linear):
                # Each output element is one dot product over a filter's or row's weights.
                macs[name] += output[0].numel() * module.weight[0].numel()
            if module in fused and (found := scratch_of(module, *inputs[0].shape[2:])):
                scratch[found] = None

        return record

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        grows = tensor.ndim > 1 and tensor.shape[0] == _IMAGES
        if grows and storage._cdata not in weights and storage._cdata not in held:
            # Held, so that no later storage can be mistaken for this one.
            held[storage._cdata] = tensor
            kept[at_work[-1].partition(".")[0]] += storage.nbytes() // _IMAGES
        return tensor

    handles = [
        handle
        for name, module in model.named_modules()
        for handle in (
            module.register_forward_pre_hook(enter(name)),
            module.register_forward_hook(leave(name)),
        )
    ]
    try:
        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
            model(images_NCHW)
    finally:
        for handle in handles:
            handle.remove()
    return macs, outputs, kept, tuple(scratch)
