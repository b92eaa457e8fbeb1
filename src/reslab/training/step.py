"""One optimiser step: the only copy of forward, loss, backward and update.

Shape suffixes: ``N`` images, ``C`` channels, ``H`` and ``W`` rows and columns, ``K`` classes,
``P`` parts of a batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn, optim

from reslab.engine.memory import is_out_of_memory
from reslab.engine.runtime import Runtime
from reslab.errors import ReslabError


@dataclass(frozen=True)
class Fault:
    """Why a step was not made.

    Attributes:
        what: what is not finite, such as ``the loss became nan``.
        rows: images of the batch that are not finite themselves; none where the net is at fault.
    """

    what: str
    rows: tuple[int, ...] = ()


@dataclass(frozen=True)
class StepResult:
    """What a step saw, before its update; zero-dimensional tensors on the device.

    Attributes:
        loss: mean over the batch, label smoothing included.
        hits: images whose most probable class was right.
        fault: set where loss or gradient were not finite and nothing was updated.
    """

    loss: Tensor
    hits: Tensor
    fault: Fault | None = None


class StepTooLargeError(ReslabError):
    """Raised where memory was too short for a step, which left everything as it was."""


class Buffers:
    """What a forward pass changes without being asked: running statistics and their counters.

    Args:
        model: the net.
    """

    def __init__(self, model: nn.Module) -> None:
        self._buffers = list(model.buffers())
        self._kept = [torch.empty_like(buffer) for buffer in self._buffers]

    def keep(self) -> None:
        """Remember them as they are."""
        if self._buffers:
            torch._foreach_copy_(self._kept, self._buffers)

    def put_back(self) -> None:
        """Make them what they were when last kept."""
        if self._buffers:
            torch._foreach_copy_(self._buffers, self._kept)


def train_step(
    model: nn.Module,
    optimizer: optim.Optimizer,
    images_NCHW: Tensor,
    labels_N: Tensor,
    *,
    label_smoothing: float,
    runtime: Runtime,
    class_weights_K: Tensor | None = None,
    micro_batches: int = 1,
    buffers: Buffers | None = None,
    penalise: Callable[[], Tensor] | None = None,
    clip_norm: float | None = None,
) -> StepResult:
    """Forward, cross-entropy, backward, one update. The model must be in training mode.

    Where loss or gradient are not finite, or there is too little memory for them, there is no
    update, and the net is as it was.

    Args:
        model: the net.
        optimizer: over its parameters.
        images_NCHW: normalised images, wherever they are.
        labels_N: their classes, or targets (N, K): shares of the classes.
        label_smoothing: share of the target that is spread over all classes.
        runtime: where and in what precision the forward pass is made; the loss is computed in
            fp32 whatever it is. With checkpoint segments the tensors of the gradients are used
            again instead of made anew.
        class_weights_K: what the loss of each class is multiplied by; None: 1. The mean is over
            images and not over weights, so that a batch's parts add up to the whole.
        micro_batches: parts of the batch that are computed one after the other, to spare
            memory. The gradient is that of the whole batch, but norms see a part each.
        buffers: of this net, made once for all steps; None: made here.
        penalise: what is added to the loss.
        clip_norm: the longest gradient that is applied as it is, by the root of the sum of
            squares over all parameters; longer ones are scaled down to it.

    Raises:
        StepTooLargeError: where there is too little memory.
        ReslabError: where the optimiser lacks it, after which weights may be of two steps.
    """
    keep_gradients = runtime.checkpoint_segments > 0
    buffers = buffers or Buffers(model)
    buffers.keep()
    optimizer.zero_grad(set_to_none=not keep_gradients)
    try:
        result = _differentiate(
            model,
            images_NCHW.tensor_split(micro_batches),
            labels_N.tensor_split(micro_batches),
            label_smoothing=label_smoothing,
            class_weights_K=class_weights_K,
            runtime=runtime,
            penalise=penalise,
        )
        norm = _norm(model)
        fault = None
        if not (result.loss.isfinite() and norm is not None):
            fault = _diagnose(model, images_NCHW, result.loss)
        failed = False
    except Exception as error:
        failed = is_out_of_memory(error)
        if not failed:
            raise
    if failed:
        # Not within the handler: its traceback holds what the step had computed so far.
        buffers.put_back()
        optimizer.zero_grad(set_to_none=not keep_gradients)
        raise StepTooLargeError(f"too little memory for {len(images_NCHW)} images")
    if fault is not None:
        buffers.put_back()
        return replace(result, fault=fault)
    if clip_norm is not None and norm is not None:
        torch.nn.utils.clip_grads_with_norm_(model.parameters(), clip_norm, norm)
    try:
        optimizer.step()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise ReslabError(
            "there is too little memory for what the optimiser keeps of each weight; choose a "
            "smaller net, or end what else uses the memory"
        ) from error
    return result


def _differentiate(
    model: nn.Module,
    images_PNCHW: Sequence[Tensor],
    labels_PN: Sequence[Tensor],
    *,
    label_smoothing: float,
    class_weights_K: Tensor | None,
    runtime: Runtime,
    penalise: Callable[[], Tensor] | None,
) -> StepResult:
    """The loss of a batch in ``P`` parts, and its gradient, one part after the other."""
    losses, hits = [], []
    total = sum(map(len, labels_PN))
    for images, labels in zip(images_PNCHW, labels_PN, strict=True):
        images_NCHW, labels_N = runtime.place_images(images), runtime.place(labels)
        with runtime.autocast():
            logits_NK = model(images_NCHW)
        loss = F.cross_entropy(
            logits_NK.float(),
            labels_N,
            weight=class_weights_K,
            label_smoothing=label_smoothing,
            reduction="mean" if class_weights_K is None else "sum",
        )
        if class_weights_K is not None:
            loss = loss / len(labels)
        if penalise is not None:
            loss = loss + penalise()
        if len(labels_PN) > 1:
            loss = loss * (len(labels) / total)
        loss.backward()  # type: ignore[no-untyped-call]
        losses.append(loss.detach())
        with torch.no_grad():
            classes_N = labels_N if labels_N.ndim == 1 else labels_N.argmax(dim=1)
            hits.append((logits_NK.argmax(dim=1) == classes_N).sum())
    return StepResult(_sum(losses), _sum(hits))


def _sum(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.stack(parts).sum()


def _gradients(model: nn.Module) -> list[Tensor]:
    return [p.grad for p in model.parameters() if p.grad is not None]


def _norm(model: nn.Module) -> Tensor | None:
    """The root of the gradient's sum of squares; None where a number of it is not finite."""
    gradients = _gradients(model)
    norm = torch.nn.utils.get_total_norm(gradients)
    # Where the root is finite, so is all of it. Where it is not, it may have overflowed: the
    # largest magnitude cannot, but takes four times as long to find.
    if norm.isfinite() or torch.nn.utils.get_total_norm(gradients, math.inf).isfinite():
        return norm
    return None


def _diagnose(model: nn.Module, images_NCHW: Tensor, loss: Tensor) -> Fault:
    """What is at fault: the first in the order in which a step computes."""
    odd_N = ~images_NCHW.isfinite().flatten(1).all(dim=1)
    if odd_N.any():
        rows = tuple(odd_N.nonzero().flatten().tolist())
        return Fault("the input holds numbers that are not finite", rows)
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            return Fault(f"{name} is no longer finite")
    if not loss.isfinite():
        return Fault(f"the loss became {loss.item()}")
    name = next(
        name
        for name, p in model.named_parameters()
        if p.grad is not None and not p.grad.isfinite().all()
    )
    return Fault(f"the gradient of {name} is not finite")
