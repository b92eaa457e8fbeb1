"""The net with its batch norms folded into its convolutions, in the runtime's layout."""

from __future__ import annotations

import copy
from collections import Counter
from typing import TypeVar

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from reslab.engine.runtime import Runtime
from reslab.inference.engine import Forward
from reslab.models.checks import check_images

ModuleT = TypeVar("ModuleT", bound=nn.Module)


class Folded:
    """Eager execution of ``fold(model)``."""

    def obstacle(self) -> str:
        """None: nothing but torch is needed."""
        return ""

    def prepare(self, model: nn.Module, images_NCHW: Tensor, runtime: Runtime) -> Forward:
        """See ``Engine``; takes batches of any size."""
        folded = runtime.place_model(fold(model))

        def forward(images_NCHW: Tensor) -> Tensor:
            with torch.inference_mode():
                outputs_ND: Tensor = folded(runtime.place_images(images_NCHW)).float().cpu()
            return outputs_ND

        forward(images_NCHW)
        return forward


def fold(model: nn.Module) -> nn.Module:
    """A copy in which a batch norm behind a convolution has become a part of it.

    In evaluation a batch norm is y = (x - mean) / sqrt(var + eps) · weight + bias, channel by
    channel, which a convolution can do with other weights and a bias. It is folded where nobody
    else sees what the convolution gives, and the convolution is used once. A net whose forward
    pass depends on its data (which cannot be traced) is copied as it is.

    Args:
        model: the net, in evaluation mode; it is not changed.
    """
    try:
        graph = fx.Tracer(autowrap_functions=(check_images,)).trace(model)
    except Exception:  # noqa: BLE001 - whatever a net of one's own does that cannot be traced
        return copy.deepcopy(model).eval()
    # A module that holds references to the net's own, in a tree that is not the net's.
    traced = fx.GraphModule(model, graph)
    calls = Counter(node.target for node in graph.nodes if node.op == "call_module")
    for node in list(graph.nodes):
        convolution = _called(traced, node, nn.Conv2d)
        if convolution is None or calls[node.target] > 1 or len(node.users) != 1:
            continue
        (user,) = node.users
        norm = _called(traced, user, nn.BatchNorm2d)
        if norm is None or norm.running_mean is None:
            continue
        traced.set_submodule(str(node.target), fuse_conv_bn_eval(convolution, norm))
        user.replace_all_uses_with(node)
        graph.erase_node(user)
    # The check of the images too, whose answer nobody uses.
    graph.eliminate_dead_code()
    traced.delete_all_unused_submodules()
    traced.recompile()
    return copy.deepcopy(traced).eval()


def _called(root: nn.Module, node: fx.Node, kind: type[ModuleT]) -> ModuleT | None:
    """The module that a node calls, where it is of exactly that kind."""
    if node.op != "call_module":
        return None
    module = root.get_submodule(str(node.target))
    return module if type(module) is kind else None
