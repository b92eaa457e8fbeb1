"""Muon: steps of momentum in which all directions count alike, for the kernels of convolutions.

Shape suffixes: ``B`` matrices of a batch, ``M`` their rows and ``N`` their columns.

Source: Jordan et al., *Muon: An optimizer for hidden layers in neural networks* (2024,
https://kellerjordan.github.io/posts/muon), and for kernels of a constant norm Jordan's airbench
(arXiv 2404.00498). torch's own takes matrices alone and rounds them to bf16:
docs/decisions/0019-muon.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn, optim

# The polynomial a x + b x^3 + c x^5 takes singular values from 0 to 1 to between 0.7 and 1.2 within
# five rounds: not to 1, but sooner than one that converges, and the steps are as good.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_ROUNDS = 5


def orthogonalise(matrices_BMN: Tensor) -> Tensor:
    """Matrices with the singular vectors of those given, and singular values of about 1.

    By the Newton-Schulz iteration, which is nothing but matrix products. All of its rounds are
    polynomials of the matrix times its transpose, so that only the first and the last product
    have the longer side. What has no direction, a matrix of zeros, stays as it is.

    Args:
        matrices_BMN: of any scale.
    """
    is_wide = matrices_BMN.shape[1] <= matrices_BMN.shape[2]
    wide_BMN = matrices_BMN if is_wide else matrices_BMN.mT
    norm_B11 = torch.linalg.matrix_norm(wide_BMN, keepdim=True)
    wide_BMN = wide_BMN / norm_B11.clamp(min=torch.finfo(norm_B11.dtype).tiny)
    gram_BMM = wide_BMN @ wide_BMN.mT
    identity_MM = torch.eye(len(gram_BMM[0]), dtype=gram_BMM.dtype, device=gram_BMM.device)
    all_BMM = identity_MM.expand_as(gram_BMM)
    for _ in range(_ROUNDS):
        round_BMM = torch.baddbmm(_A * identity_MM + _B * gram_BMM, gram_BMM, gram_BMM, alpha=_C)
        all_BMM = round_BMM @ all_BMM
        gram_BMM = round_BMM @ gram_BMM @ round_BMM
    found_BMN: Tensor = all_BMM @ wide_BMN
    return found_BMN if is_wide else found_BMN.mT


class Muon(optim.Optimizer):
    """Momentum, made orthogonal for kernels; the rest learns by SGD with the same momentum.

    A kernel is taken as a matrix of output channels by all that they sum over. A step moves it by
    ``lr`` of its own norm, which it keeps: behind a norm layer only its direction matters, so that
    weight decay would do no more than change the rate.

    Args:
        groups: as torch's optimisers take them. Where ``orthogonal`` is set they hold kernels
            and have no weight decay; ``lr_factor`` is what the rate of the group is multiplied by.
        lr: the rate.
        momentum: fraction of the last update that is kept.
        nesterov: whether to look ahead along the momentum.
    """

    def __init__(
        self, groups: Iterable[dict[str, Any]], *, lr: float, momentum: float, nesterov: bool
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "nesterov": nesterov,
            "weight_decay": 0.0,
            "orthogonal": False,
            "lr_factor": 1.0,
        }
        super().__init__(groups, defaults)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            learning: list[Tensor] = [p for p in group["params"] if p.grad is not None]
            if not learning:
                continue
            updates = self._momentum(learning, group)
            rate = float(group["lr"]) * float(group["lr_factor"])
            if group["orthogonal"]:
                _turn(learning, updates, rate)
            else:
                torch._foreach_add_(learning, updates, alpha=-rate)

    def _momentum(self, learning: list[Tensor], group: dict[str, Any]) -> list[Tensor]:
        """What each parameter is to be moved along."""
        decay, momentum = float(group["weight_decay"]), float(group["momentum"])
        gradients = [p.grad for p in learning if p.grad is not None]
        if decay:
            gradients = list(torch._foreach_add(gradients, learning, alpha=decay))
        for parameter in learning:
            if not self.state[parameter]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        kept = [self.state[parameter]["momentum_buffer"] for parameter in learning]
        torch._foreach_mul_(kept, momentum)
        torch._foreach_add_(kept, gradients)
        if not group["nesterov"]:
            return kept
        return list(torch._foreach_add(gradients, kept, alpha=momentum))


def is_kernel(parameter: nn.Parameter) -> bool:
    """Whether it is what Muon makes orthogonal: the kernel of a convolution."""
    return parameter.ndim == 4


def _turn(kernels: list[Tensor], updates: list[Tensor], rate: float) -> None:
    """Move kernels by ``rate`` of their norm, which stays what it is."""
    alike: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = defaultdict(list)
    for kernel, update in zip(kernels, updates, strict=True):
        alike[len(kernel), kernel[0].numel()].append((kernel, update))
    for (rows, columns), pairs in alike.items():
        steps_BMN = orthogonalise(torch.stack([update.flatten(1) for _, update in pairs]))
        # Of this norm is a matrix whose singular values are all 1.
        full = min(rows, columns) ** 0.5
        for (kernel, _), step_MN in zip(pairs, steps_BMN, strict=True):
            norm = kernel.norm()
            kernel.sub_(step_MN.view(kernel.shape) * (norm * (rate / full)))
            kernel.mul_(norm / kernel.norm().clamp(min=torch.finfo(norm.dtype).tiny))
