"""One optimiser step: the only copy of forward, loss, backward and update.

Shape suffixes: ``N`` images, ``C`` channels, ``H`` and ``W`` rows and columns, ``K`` classes.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn, optim


@dataclass(frozen=True)
class StepResult:
    """What a step saw, before its update; zero-dimensional tensors on the device.

    Attributes:
        loss: mean over the batch, label smoothing included.
        hits: images whose most probable class was right.
    """

    loss: Tensor
    hits: Tensor


def train_step(
    model: nn.Module,
    optimizer: optim.Optimizer,
    images_NCHW: Tensor,
    labels_N: Tensor,
    *,
    label_smoothing: float,
    autocast: AbstractContextManager[object],
    keep_gradients: bool = False,
) -> StepResult:
    """Forward, cross-entropy, backward, one update. The model must be in training mode.

    The loss is computed in fp32 whatever the precision of the net. With ``keep_gradients`` the
    tensors of the gradients are used again and not made anew.
    """
    with autocast:
        logits_NK = model(images_NCHW)
    loss = F.cross_entropy(logits_NK.float(), labels_N, label_smoothing=label_smoothing)
    optimizer.zero_grad(set_to_none=not keep_gradients)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    with torch.no_grad():
        hits = (logits_NK.argmax(dim=1) == labels_N).sum()
    return StepResult(loss.detach(), hits)
