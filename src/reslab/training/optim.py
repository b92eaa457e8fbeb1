"""Optimisers from their settings."""

from __future__ import annotations

from torch import nn, optim

from reslab.spec.optimizers import SGD, Adam, AdamW, OptimizerSpec
from reslab.spec.optimizers import Muon as MuonSpec
from reslab.training.muon import Muon, is_kernel


def is_pulled(parameter: nn.Parameter, *, norm_and_bias: bool) -> bool:
    """Whether decay and penalties pull a parameter; those of norms and biases if asked to."""
    # These are the only ones with a single dimension.
    return parameter.ndim > 1 or norm_and_bias


def make_optimizer(
    model: nn.Module,
    spec: OptimizerSpec,
    *,
    lr: float,
    weight_decay: float,
    decay_norm_and_bias: bool,
) -> optim.Optimizer:
    """The optimiser over all parameters of the model that learn.

    Args:
        model: the net.
        spec: the kind of optimiser and its settings.
        lr: the highest rate; the schedule sets it anew each step.
        weight_decay: pull of the weights to zero, as the kind applies it.
        decay_norm_and_bias: whether it pulls batch norm and biases too. Sparing them is
            He et al., arXiv 1812.01187, section 3.1; pulling them is what the papers do.
    """
    learning = [p for p in model.parameters() if p.requires_grad]
    kernels: list[nn.Parameter] = []
    if isinstance(spec, MuonSpec):
        kernels = [p for p in learning if is_kernel(p)]
        learning = [p for p in learning if not is_kernel(p)]
    both = decay_norm_and_bias
    decayed = [p for p in learning if is_pulled(p, norm_and_bias=both)]
    spared = [p for p in learning if not is_pulled(p, norm_and_bias=both)]
    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    match spec:
        case SGD():
            return optim.SGD(
                groups,
                lr=lr,
                momentum=spec.momentum,
                # Without momentum there is nothing to look ahead along, and torch refuses it.
                nesterov=spec.nesterov and spec.momentum > 0,
                fused=True,
            )
        case Adam():
            return optim.Adam(groups, lr=lr, betas=(spec.beta1, spec.beta2), fused=True)
        case AdamW():
            return optim.AdamW(groups, lr=lr, betas=(spec.beta1, spec.beta2), fused=True)
        case MuonSpec():
            # The schedule sets one rate for all groups: theirs is in proportion to it.
            rest = [{**group, "lr_factor": spec.sgd_lr / lr} for group in groups]
            turned = [{"params": kernels, "orthogonal": True}] if kernels else []
            return Muon([*turned, *rest], lr=lr, momentum=spec.momentum, nesterov=spec.nesterov)


def set_learning_rate(optimizer: optim.Optimizer, lr: float) -> None:
    """Give every group the rate."""
    for group in optimizer.param_groups:
        group["lr"] = lr
