"""The net's residual blocks on reslab's own kernels, its stem folded."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from reslab.engine.runtime import Runtime
from reslab.errors import ReslabError
from reslab.inference.engine import Forward
from reslab.models.blocks import BasicBlock, Bottleneck
from reslab.models.fused import plan_of
from reslab.models.resnet import ResNet
from reslab.ops.frozen import FrozenBlock
from reslab.ops.native import Kernels, find_kernels, kernels_obstacle
from reslab.ops.plan import Plan, is_plain
from reslab.ops.ways import possible_way


class OwnKernels:
    """Winograd convolutions with norms, ReLU and addition in the same passes, in fp32."""

    def obstacle(self) -> str:
        """Why the kernels cannot be had, if so."""
        # Not by building them, which takes seconds: that is for ``prepare``.
        return kernels_obstacle()

    def prepare(self, model: nn.Module, images_NCHW: Tensor, runtime: Runtime) -> Forward:
        """See ``Engine``; takes batches of any size.

        Raises:
            ReslabError: for a net that they cannot make faster, and where they cannot be built.
        """
        check_worth(model)
        found = find_kernels()
        if found.kernels is None:
            raise ReslabError(found.reason)
        frozen = freeze(model, found.kernels).to(memory_format=torch.channels_last)

        def forward(images_NCHW: Tensor) -> Tensor:
            # What surrounds the caller is no business of an engine in fp32.
            with torch.inference_mode(), torch.autocast("cpu", enabled=False):
                last_NCHW = images_NCHW.contiguous(memory_format=torch.channels_last)
                outputs_ND: Tensor = frozen(last_NCHW)
            return outputs_ND

        forward(images_NCHW)
        return forward


def check_worth(model: nn.Module) -> ResNet:
    """The net, of which a block has a convolution that they compute; nothing is built for it.

    Raises:
        ReslabError: with the reason.
    """
    if not isinstance(model, ResNet):
        raise ReslabError("it runs reslab's own nets only")
    plans = [_plan_of(block) for stage in model.stages() for block in stage]
    units = [unit for plan in plans if plan is not None for unit in plan.units]
    if not any(possible_way(unit.conv) and is_plain(unit, lanes=8) for unit in units):
        raise ReslabError("the net has no block with a 3x3 convolution that they compute")
    return model


def freeze(model: nn.Module, kernels: Kernels) -> nn.Module:
    """A copy whose residual blocks of the first paper run on the kernels, its stem folded.

    Args:
        model: the net, in evaluation mode; it is not changed.
        kernels: the kernels.

    Raises:
        ReslabError: for a net that they cannot make faster.
    """
    frozen = copy.deepcopy(check_worth(model)).eval()
    for stage in frozen.stages():
        for i, block in enumerate(stage):
            plan = _plan_of(block)
            if plan and all(is_plain(unit, kernels.lanes) for unit in plan.units):
                stage[i] = FrozenBlock(kernels, plan)
    if type(frozen.bn1) is nn.BatchNorm2d and frozen.bn1.running_mean is not None:
        frozen.conv1 = fuse_conv_bn_eval(frozen.conv1, frozen.bn1)
        frozen.bn1 = nn.Identity()
    return frozen


def _plan_of(block: nn.Module) -> Plan | None:
    return plan_of(block) if type(block) in (BasicBlock, Bottleneck) else None  # type: ignore[arg-type]
