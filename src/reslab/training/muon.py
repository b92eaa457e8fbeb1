"""Muon: steps of momentum in which all directions count alike, for the kernels of convolutions.

Shape suffixes: ``B`` matrices of a batch, ``M`` rows and ``N`` columns, of which M is the fewer.

Source: Jordan et al., *Muon: An optimizer for hidden layers in neural networks* (2024,
https://kellerjordan.github.io/posts/muon), and for kernels of a constant norm Jordan's airbench
(arXiv 2404.00498). torch's own takes matrices alone and rounds them to bf16:
docs/decisions/0019-muon.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn, optim

# The polynomial a x + b x^3 + c x^5 takes singular values from 0 to 1 to between 0.7 and 1.2 within
# five rounds: not to 1, but sooner than one that converges, and the steps are as good.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_ROUNDS = 5


def orthogonalise(matrices_MN: Sequence[Tensor]) -> list[Tensor]:
    """Matrices with the singular vectors of those given, and singular values of about 1.

    By the Newton-Schulz iteration, which is nothing but matrix products. All of its rounds are
    polynomials of a matrix times its transpose, so that only the first and the last product have
    the longer side, and matrices whose shorter sides agree go through them together. What has no
    direction, a matrix of zeros, stays as it is.

    Args:
        matrices_MN: of any scale and shapes.
    """
    wide = [m if m.shape[0] <= m.shape[1] else m.mT for m in matrices_MN]
    tiny = torch.finfo(torch.float32).tiny
    norms = [norm.clamp(min=tiny) for norm in torch._foreach_norm(wide)]
    wide = list(torch._foreach_div(wide, norms))
    alike: dict[int, list[int]] = defaultdict(list)
    for i, matrix in enumerate(wide):
        alike[len(matrix)].append(i)
    found = list(wide)
    for numbers in alike.values():
        factors_BMM = _iterate(torch.stack([wide[i] @ wide[i].mT for i in numbers]))
        for i, factor_MM in zip(numbers, factors_BMM, strict=True):
            found[i] = factor_MM @ wide[i]
    return [f if f.shape == m.shape else f.mT for f, m in zip(found, matrices_MN, strict=True)]


def _iterate(gram_BMM: Tensor) -> Tensor:
    """What matrices are to be multiplied by, of which these are the products with themselves."""
    identity_MM = torch.eye(gram_BMM.shape[1], dtype=gram_BMM.dtype, device=gram_BMM.device)
    all_BMM: Tensor | None = None
    for left in reversed(range(_ROUNDS)):
        linear_BMM = torch.add(_A * identity_MM, gram_BMM, alpha=_B)
        round_BMM = torch.baddbmm(linear_BMM, gram_BMM, gram_BMM, alpha=_C)
        all_BMM = round_BMM if all_BMM is None else round_BMM @ all_BMM
        if left:
            gram_BMM = round_BMM @ gram_BMM @ round_BMM
    assert all_BMM is not None
    return all_BMM


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
    norms = torch._foreach_norm(kernels)
    steps_MN = orthogonalise([update.flatten(1) for update in updates])
    # Of the root of their rank is the norm of matrices whose singular values are all 1.
    shares = [norm * (-rate / min(s.shape) ** 0.5) for norm, s in zip(norms, steps_MN, strict=True)]
    steps = [s.view(kernel.shape) for s, kernel in zip(steps_MN, kernels, strict=True)]
    torch._foreach_addcmul_(kernels, steps, shares)
    tiny = torch.finfo(torch.float32).tiny
    moved = [norm.clamp(min=tiny) for norm in torch._foreach_norm(kernels)]
    torch._foreach_mul_(kernels, list(torch._foreach_div(norms, moved)))
