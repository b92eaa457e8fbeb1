"""Whole training steps with torch, each as its users write it.

All get uint8 batches that lie in memory, and normalise them themselves. Shape suffixes: ``B``
batches, ``N`` images, ``C`` channels, ``H`` and ``W`` rows and columns, ``K`` classes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn, optim

from measure import trim_memory
from peers import initial_model
from race import Round
from reslab.models.cost import measure_cost
from step_work import BATCHES, StepWork
from stock import PLAIN, Variant, find_fastest, grid

# torch's own examples; what it is has no influence on the speed.
_RATE, _MOMENTUM = 0.01, 0.9


class Pool:
    """The batches, which steps go through in turns.

    Args:
        work: what all contenders do.
        memory_format: layout in which the uint8 images are kept.
    """

    def __init__(self, work: StepWork, memory_format: torch.memory_format) -> None:
        images_NCHW = torch.from_numpy(work.images.pixels_NCHW)
        self._images = [
            part_NCHW.contiguous(memory_format=memory_format)
            for part_NCHW in images_NCHW.chunk(BATCHES)
        ]
        self._labels = torch.from_numpy(work.images.labels_N).chunk(BATCHES)
        self._next = 0

    def take(self) -> tuple[Tensor, Tensor]:
        """The next batch: uint8 images (N, C, H, W) and labels (N,)."""
        i = self._next
        self._next = (i + 1) % BATCHES
        return self._images[i], self._labels[i]


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """What normalises the images, shaped (C, 1, 1)."""

    mean: Tensor
    sd: Tensor

    def subtracted(self, pixels_NCHW: Tensor) -> Tensor:
        """As torchvision's transforms do it: to 0 … 1, minus the mean, over the deviation."""
        return pixels_NCHW.float().div_(255).sub_(self.mean).div_(self.sd)

    def scaled(self, pixels_NCHW: Tensor) -> Tensor:
        """The same in two passes."""
        return pixels_NCHW.float().mul_(1 / (255 * self.sd)).add_(-self.mean / self.sd)


@dataclass(kw_only=True)
class Loop:
    """What a step needs: what is called for the net, the optimiser, the configuration."""

    model: Callable[[Tensor], Tensor]
    optimizer: optim.Optimizer
    variant: Variant
    statistics: Statistics
    pool: Pool


def plain_step(loop: Loop) -> Tensor:
    """As a beginner writes it; the loss is read at each step."""
    pixels_NCHW, labels_N = loop.pool.take()
    outputs_NK = loop.model(loop.statistics.subtracted(pixels_NCHW))
    loss: Tensor = nn.functional.cross_entropy(outputs_NK, labels_N)
    loop.optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    loop.optimizer.step()
    loss.item()
    return loss.detach()


def stock_step(loop: Loop) -> Tensor:
    """As a good practitioner writes it."""
    pixels_NCHW, labels_N = loop.pool.take()
    images_NCHW = loop.statistics.scaled(pixels_NCHW)
    with loop.variant.autocast():
        loss: Tensor = nn.functional.cross_entropy(loop.model(images_NCHW), labels_N)
    loop.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    loop.optimizer.step()
    return loss.detach()


def torchvision_step(loop: Loop) -> Tensor:
    """As references/classification/train.py has it: top-1 and top-5 and the loss each step."""
    pixels_NCHW, labels_N = loop.pool.take()
    output_NK = loop.model(loop.statistics.subtracted(pixels_NCHW))
    loss: Tensor = nn.functional.cross_entropy(output_NK, labels_N)
    loop.optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    loop.optimizer.step()
    with torch.inference_mode():
        most = min(5, output_NK.shape[1])
        _, ranked_NR = output_NK.topk(most, 1, True, True)
        correct_RN = ranked_NR.t().eq(labels_N[None])
        for k in (1, most):
            correct_RN[:k].flatten().sum(dtype=torch.float32).mul(100 / len(labels_N)).item()
    loss.item()
    return loss.detach()


def timm_step(loop: Loop) -> Tensor:
    """As timm's train.py has it with ``--amp --amp-dtype bfloat16`` and without."""
    pixels_NCHW, labels_N = loop.pool.take()
    images_NCHW = loop.statistics.subtracted(pixels_NCHW)
    with loop.variant.autocast():
        loss: Tensor = nn.functional.cross_entropy(loop.model(images_NCHW), labels_N)
    loss.backward()  # type: ignore[no-untyped-call]
    loop.optimizer.step()
    loop.optimizer.zero_grad()
    return loss.detach()


def small_stem(model: nn.Module, channels: int) -> nn.Module:
    """The change that users make to such nets for small images."""
    model.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
    model.maxpool = nn.Identity()
    return model


def torchvision_model(work: StepWork) -> nn.Module:
    """The net of that name in torchvision."""
    from torchvision import models  # noqa: PLC0415 - for those alone that need it

    model: nn.Module = models.get_model(work.run.model.name, num_classes=work.classes)
    return small_stem(model, work.run.facts.channels) if work.run.model.stem == "small" else model


def timm_model(work: StepWork) -> nn.Module:
    """The net of that name in timm."""
    import timm  # noqa: PLC0415

    model: nn.Module = timm.create_model(work.run.model.name, num_classes=work.classes)
    return small_stem(model, work.run.facts.channels) if work.run.model.stem == "small" else model


def reslab_model(work: StepWork) -> nn.Module:
    """The same net as reslab trains, its modules run by torch."""
    return initial_model(work.run)


def fused_sgd(model: nn.Module) -> optim.Optimizer:
    """Torch's fused SGD with Nesterov momentum."""
    return optim.SGD(
        model.parameters(),
        lr=_RATE,
        momentum=_MOMENTUM,
        nesterov=True,
        weight_decay=5e-4,
        fused=True,
    )


def usual_sgd(model: nn.Module) -> optim.Optimizer:
    """SGD as its default constructor gives it, with torchvision's weight decay."""
    return optim.SGD(model.parameters(), lr=_RATE, momentum=_MOMENTUM, weight_decay=1e-4)


def timm_sgd(model: nn.Module) -> optim.Optimizer:
    """The optimiser that timm's train.py makes for ``--opt sgd``."""
    from timm.optim import create_optimizer_v2  # type: ignore[attr-defined]  # noqa: PLC0415

    made: optim.Optimizer = create_optimizer_v2(
        model, opt="sgd", lr=_RATE, weight_decay=2e-5, momentum=_MOMENTUM
    )
    return made


@dataclass(frozen=True, kw_only=True)
class Way:
    """All in which the torch contenders differ.

    Attributes:
        build: the net.
        optimizer: what updates it.
        step: a whole step.
        variants: those that are tried.
    """

    build: Callable[[StepWork], nn.Module]
    optimizer: Callable[[nn.Module], optim.Optimizer]
    step: Callable[[Loop], Tensor]
    variants: Sequence[Variant]


PLAIN_WAY = Way(build=reslab_model, optimizer=usual_sgd, step=plain_step, variants=(PLAIN,))
GRID_WAY = Way(build=reslab_model, optimizer=fused_sgd, step=stock_step, variants=grid())
TORCHVISION_WAY = Way(
    build=torchvision_model,
    optimizer=usual_sgd,
    step=torchvision_step,
    variants=grid(precisions=("fp32",), ways=(False,)),
)
TIMM_WAY = Way(build=timm_model, optimizer=timm_sgd, step=timm_step, variants=grid())


class TorchStep:
    """Steps of one way, in the fastest of its variants.

    Args:
        way: how it trains.
        work: what all contenders do.
    """

    def __init__(self, way: Way, work: StepWork) -> None:
        self._way, self._work = way, work
        mean, sd = torch.tensor(work.run.facts.mean), torch.tensor(work.run.facts.sd)
        self._statistics = Statistics(mean=mean.view(-1, 1, 1), sd=sd.view(-1, 1, 1))

    def prepare(self) -> dict[str, Any]:
        """Try the variants and keep the fastest."""
        variants = [v for v in self._way.variants if self._work.compile or not v.compile]
        loops: dict[Variant, Loop] = {}

        def attempt(variant: Variant, steps: int) -> None:
            if variant not in loops:
                loops[variant] = self._begin(variant)
            for _ in range(steps):
                self._way.step(loops[variant])

        trial = find_fastest(variants, attempt)
        self._loop = loops[trial.best]
        facts = self._work.run.facts
        cost = measure_cost(
            lambda: self._way.build(self._work), facts.channels, self._work.image_size
        )
        return {
            "batch_size": self._work.batch_size,
            **asdict(trial.best),
            "parameters": cost.parameters,
            "macs": cost.macs,
            "first_step_seconds": trial.first_step_seconds,
            **trial.record,
        }

    def wake(self) -> None:
        """A step that is not timed, on memory that others have had in the meantime."""
        self._way.step(self._loop)

    def rest(self) -> None:
        """Give back what the allocator keeps, for those whose turn it is."""
        trim_memory()

    def run_round(self, number: int) -> Round:
        """As many steps as fit into a round."""
        return run_steps(self._work, lambda: self._way.step(self._loop))

    def _begin(self, variant: Variant) -> Loop:
        torch.manual_seed(0)
        raw = self._way.build(self._work).train()
        raw = raw.to(memory_format=variant.torch_format)
        model = torch.compile(raw, dynamic=False) if variant.compile else raw
        return Loop(
            model=model,
            optimizer=self._way.optimizer(raw),
            variant=variant,
            statistics=self._statistics,
            pool=Pool(self._work, variant.torch_format),
        )


def run_steps(work: StepWork, step: Callable[[], Any]) -> Round:
    """Steps for as long as a round takes; the loss of the last one is waited for."""
    steps, ends_at = 0, time.perf_counter() + work.seconds
    while steps == 0 or time.perf_counter() < ends_at:
        loss = step()
        steps += 1
    return Round(images=steps * work.batch_size, steps=steps, loss=float(loss))
