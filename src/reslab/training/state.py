"""Everything that a training is made of between two steps, and how it becomes a checkpoint.

What is a pure function of (seeds, epoch, step) is not part of it: the order of the images,
what augmentation and dropout draw, the learning rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn, optim

from reslab.errors import UserError
from reslab.runs.checkpoint import Checkpoint
from reslab.runs.history import EpochRecord
from reslab.training.plan import Plan
from reslab.training.regularise import WeightAverage
from reslab.training.stopwatch import Stopwatch

_NET, _OPTIMIZER, _AVERAGE, _BEST, _START = "net.", "optimizer.", "average.", "best.", "start."
_LOSSES, _HITS = "epoch.losses", "epoch.hits"


@dataclass(frozen=True)
class Best:
    """The epoch that the run is judged by.

    Attributes:
        epoch: counted from 1.
        score: what epochs are ranked by; None without validation, where the last is best.
        weights: of the net after it, copies on the CPU.
    """

    epoch: int
    score: tuple[float, float] | None
    weights: Mapping[str, Tensor]


class Cut(NamedTuple):
    """Batches were cut because a step found too little memory.

    Attributes:
        step: the first, counted from 1, that was made so.
        parts: that batches are computed in from there on.
    """

    step: int
    parts: int


def describe_cut(cut: Cut) -> str:
    """In words.

    >>> describe_cut(Cut(step=8, parts=2))
    'from step 8 on batches are computed in 2 parts'
    """
    return f"from step {cut.step} on batches are computed in {cut.parts} parts"


@dataclass(kw_only=True)
class TrainingState:
    """The state of a training; the net and the optimiser are changed in place.

    Attributes:
        model: the net.
        optimizer: over its parameters.
        plan: where on the schedule it stands.
        average: of the weights, which is judged in their place; None: they are judged themselves.
        cuts: where memory turned out to be short for a step.
        watch: time spent so far.
        step: optimiser steps made, those left out for a fault included.
        epoch_step: those of the epoch that has begun, which is not in ``history``.
        history: one record a finished epoch.
        best: see ``Best``; None before an epoch has ended.
        losses: of the steps of the epoch that has begun, zero-dimensional.
        hits: likewise, images classified right.
        rate: learning rate of the last step.
        left_out: steps left out because loss or gradient were not finite.
        left_out_in_a_row: of these the latest, without one that was made in between.
        start: net and optimiser as the epoch found them, where they may be rolled back to.
    """

    model: nn.Module
    optimizer: optim.Optimizer
    plan: Plan
    average: WeightAverage | None = None
    cuts: list[Cut] = field(default_factory=list)
    watch: Stopwatch = field(default_factory=Stopwatch)
    step: int = 0
    epoch_step: int = 0
    history: list[EpochRecord] = field(default_factory=list)
    best: Best | None = None
    losses: list[Tensor] = field(default_factory=list)
    hits: list[Tensor] = field(default_factory=list)
    rate: float = 0.0
    left_out: int = 0
    left_out_in_a_row: int = 0
    start: dict[str, Tensor] = field(default_factory=dict)

    @property
    def judged(self) -> nn.Module:
        """The net that is validated, kept and tested."""
        return self.model if self.average is None else self.average.model

    def tensors(self) -> dict[str, Tensor]:
        """What steps change: net, optimiser, average; the live tensors."""
        return tensors_of(self.model, self.optimizer, self.average)

    def put(self, tensors: Mapping[str, Tensor]) -> None:
        """Give it back what ``tensors`` took.

        Raises:
            UserError: as ``put_tensors``.
        """
        put_tensors(self.model, self.optimizer, tensors, self.average)

    def checkpoint(self) -> Checkpoint:
        """All of it; the tensors are the live ones, to be written before the next step."""
        tensors = self.tensors()
        tensors |= {_START + name: tensor for name, tensor in self.start.items()}
        if self.losses:
            tensors[_LOSSES], tensors[_HITS] = torch.stack(self.losses), torch.stack(self.hits)
        facts: dict[str, Any] = {
            "epoch_step": self.epoch_step,
            "history": [asdict(record) for record in self.history],
            "left_out": [self.left_out, self.left_out_in_a_row],
            "cuts": self.cuts,
            "plan": asdict(self.plan),
            "rate": self.rate,
            "watch": self.watch.readings(),
        }
        if self.best is not None:
            tensors |= {_BEST + name: tensor for name, tensor in self.best.weights.items()}
            facts["best"] = {"epoch": self.best.epoch, "score": self.best.score}
        return Checkpoint(self.step, tensors, facts)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Become what a checkpoint holds.

        Raises:
            UserError: where it is of another net or optimiser.
        """
        self.put(checkpoint.tensors)
        facts = checkpoint.facts
        self.step, self.epoch_step = checkpoint.step, facts["epoch_step"]
        self.history = history_in(checkpoint)
        self.best = best_in(checkpoint)
        self.left_out, self.left_out_in_a_row = facts["left_out"]
        # Checkpoints from before batches could be cut do not have it.
        self.cuts = [Cut(*cut) for cut in facts.get("cuts", ())]
        self.plan = Plan(**facts["plan"])
        self.watch.resume(facts["watch"])
        self.start = _without_prefix(checkpoint.tensors, _START)
        self.rate = facts["rate"]
        device = next(self.model.parameters()).device
        self.losses, self.hits = (
            list(checkpoint.tensors[name].to(device).unbind()) if name in checkpoint.tensors else []
            for name in (_LOSSES, _HITS)
        )

    def keep_start(self) -> None:
        """Remember net and optimiser as they are."""
        self.start = copies(self.tensors())

    def roll_back(self) -> None:
        """Give net and optimiser what ``keep_start`` remembered; the rest goes on."""
        self.put(self.start)


def history_in(checkpoint: Checkpoint) -> list[EpochRecord]:
    """The finished epochs of a checkpoint."""
    return [EpochRecord(**record) for record in checkpoint.facts["history"]]


def best_in(checkpoint: Checkpoint) -> Best | None:
    """The best epoch of a checkpoint."""
    told = checkpoint.facts.get("best")
    if told is None:
        return None
    score = None if told["score"] is None else tuple(told["score"])
    return Best(told["epoch"], score, _without_prefix(checkpoint.tensors, _BEST))


def tensors_of(
    model: nn.Module, optimizer: optim.Optimizer, average: WeightAverage | None = None
) -> dict[str, Tensor]:
    """The net's parameters and buffers, what the optimiser keeps of each, and their average."""
    tensors = {_NET + name: tensor for name, tensor in model.state_dict().items()}
    for i, parameter in enumerate(_parameters(optimizer)):
        for key, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                tensors[f"{_OPTIMIZER}{i}.{key}"] = value
    if average is not None:
        tensors |= {_AVERAGE + name: tensor for name, tensor in average.tensors().items()}
    return tensors


@torch.no_grad()
def put_tensors(
    model: nn.Module,
    optimizer: optim.Optimizer,
    tensors: Mapping[str, Tensor],
    average: WeightAverage | None = None,
) -> None:
    """Give net and optimiser what ``tensors_of`` took of them, in the layout that they have.

    Raises:
        UserError: where they are of another net or optimiser, which are then unchanged.
    """
    own = model.state_dict()
    given = _without_prefix(tensors, _NET)
    parameters = _parameters(optimizer)
    kept = {
        (int(number), key): tensor
        for name, tensor in _without_prefix(tensors, _OPTIMIZER).items()
        for number, _, key in [name.partition(".")]
    }
    if {n: t.shape for n, t in own.items()} != {n: t.shape for n, t in given.items()} or any(
        number >= len(parameters) for number, _ in kept
    ):
        raise UserError(
            "the checkpoint is of another net",
            remedy="resume it with the run.yaml that it was written with",
        )
    for name, tensor in given.items():
        own[name].copy_(tensor)
    if average is not None:
        averaged = average.tensors()
        for name, tensor in _without_prefix(tensors, _AVERAGE).items():
            averaged[name].copy_(tensor)
    optimizer.state.clear()
    for (number, key), tensor in kept.items():
        parameter = parameters[number]
        # In the parameter's own layout: fused optimisers walk through both at once.
        like = (
            torch.empty_like(parameter, dtype=tensor.dtype)
            if tensor.shape == parameter.shape
            else torch.empty_like(tensor, device=parameter.device)
        )
        optimizer.state[parameter][key] = like.copy_(tensor)


def copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU that later steps leave alone."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}


def _parameters(optimizer: optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _without_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
