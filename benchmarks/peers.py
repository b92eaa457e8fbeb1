"""How others train the same net on the same images: the note's loop, and stock loops.

Each is built in a worker process (``measure.Worker``) that has torch's and glibc's stock state.
Shape suffixes: ``N`` images, ``C`` channels, ``H`` and ``W`` rows and columns, ``K`` classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from race import Round
from reslab.data.source import Images
from reslab.errors import UserError
from reslab.spec.optimizers import SGD, Adam, Muon
from reslab.spec.resolved import ResolvedRun, ResolvedTraining
from reslab.training.schedule import learning_rate
from reslab.workbench.resolve import build_model
from stock import PLAIN, Variant, find_fastest, grid
from stock_batches import StockBatches

NOTE_BATCH = 32
_SAY_EVERY = 100


@dataclass(frozen=True, kw_only=True)
class Work:
    """What all contenders do.

    Attributes:
        run: net, augmentation, batch size and settings of the training.
        images: the images to train on.
        compile: whether the stock loop may choose torch.compile too.
    """

    run: ResolvedRun
    images: Images
    compile: bool = False


def initial_model(run: ResolvedRun) -> nn.Module:
    """The run's net with the weights that its seed gives."""
    torch.manual_seed(run.seeds.initialisation)
    return build_model(run)


class _PilDataset(Dataset[tuple[Tensor, int]]):
    """Images as torchvision's MNIST gives them: a PIL image made and transformed at each access."""

    def __init__(self, images: Images, transform: Callable[[Image.Image], Tensor]) -> None:
        self._pixels = images.pixels_NCHW
        self._labels = images.labels_N.tolist()
        self._transform = transform

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        pixels_CHW = self._pixels[index]
        grey = len(pixels_CHW) == 1
        image = Image.fromarray(pixels_CHW[0] if grey else pixels_CHW.transpose(1, 2, 0))
        return self._transform(image), self._labels[index]


class NoteLoop:
    """The loop of the MNIST note (N1), literally: fp32, batch 32, Adam, PIL, DataLoader."""

    def __init__(self, work: Work) -> None:
        # Imported here to spare the other contenders the seconds that it takes.
        from torchvision import transforms  # noqa: PLC0415

        augment = work.run.data.augment
        steps = [transforms.Pad(augment.pad)]
        if augment.flip:
            steps.append(transforms.RandomHorizontalFlip())
        steps += [transforms.RandomCrop(augment.crop), transforms.ToTensor()]
        dataset = _PilDataset(work.images, transforms.Compose(steps))
        self._loader = DataLoader(dataset, batch_size=NOTE_BATCH, shuffle=True, num_workers=0)
        self._model = initial_model(work.run)
        self._criterion = nn.CrossEntropyLoss()
        self._optimizer = torch.optim.Adam(self._model.parameters(), lr=0.001)

    def prepare(self) -> dict[str, Any]:
        """Nothing to choose; tells what it is."""
        return {
            "batch_size": NOTE_BATCH,
            "precision": "fp32",
            "memory_format": "contiguous",
            "compile": False,
            "augmentation": "torchvision transforms on PIL images, DataLoader without workers",
            "optimizer": "Adam",
        }

    @property
    def model(self) -> nn.Module:
        """The net that it trains."""
        return self._model

    def run_round(self, number: int) -> Round:
        """One epoch."""
        losses: list[float] = []
        lines: list[str] = []
        images = 0
        self._model.train()
        for i, (batch_NCHW, labels_N) in enumerate(self._loader):
            outputs_NK = self._model(batch_NCHW)
            loss = self._criterion(outputs_NK, labels_N)
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
            images += len(batch_NCHW)
            if i == 0 or (i + 1) % _SAY_EVERY == 0:
                losses.append(loss.item())
                lines.append(f"Epoch [{number}], Step [{i + 1}] Loss: {losses[-1]:.4f}")
        return Round(images=images, steps=len(self._loader), loss=loss.item())


def stock_optimizer(
    model: nn.Module, training: ResolvedTraining, *, fused: bool
) -> torch.optim.Optimizer:
    """The run's optimiser as torch has it; norms and biases are spared decay where the run says."""
    pulled = [p for p in model.parameters() if p.ndim > 1 or training.decay_norm_and_bias]
    spared = [p for p in model.parameters() if p.ndim == 1 and not training.decay_norm_and_bias]
    decay = training.weight_decay
    groups: list[dict[str, Any]] = [
        {"params": parameters, "weight_decay": share}
        for parameters, share in ((pulled, decay), (spared, 0.0))
        if parameters
    ]
    spec = training.optimizer
    if isinstance(spec, SGD):
        return torch.optim.SGD(
            groups,
            lr=training.lr,
            momentum=spec.momentum,
            nesterov=spec.nesterov,
            fused=fused,
        )
    assert not isinstance(spec, Muon)  # refused before
    kind = torch.optim.Adam if isinstance(spec, Adam) else torch.optim.AdamW
    return kind(groups, lr=training.lr, betas=(spec.beta1, spec.beta2), fused=fused)


@dataclass(kw_only=True)
class _Training:
    """A training on its way: the raw net, what is called for it, and what updates it."""

    raw: nn.Module
    model: Callable[[Tensor], Tensor]
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler


class StockLoop:
    """A loop with torch alone, in the best of some configurations of the stock grid.

    Batches are cut from memory (``stock_batches``), the loss is read once an epoch. Which
    variant is fastest is found by trial before the first round.

    Args:
        work: what all contenders do.
        variants: those that may be chosen; those that compile only if the work allows it.
        fused: whether the optimiser is torch's fused one.
    """

    def __init__(self, work: Work, variants: Sequence[Variant], *, fused: bool) -> None:
        _check_stock(work.run)
        self._run = work.run
        self._variants = [v for v in variants if work.compile or not v.compile]
        self._fused = fused
        self._batches = StockBatches(work.run, work.images)
        self._criterion = nn.CrossEntropyLoss(label_smoothing=work.run.training.label_smoothing)

    def prepare(self) -> dict[str, Any]:
        """Try the variants and keep the fastest; tells which, and what each took."""
        models = {variant: self._build(variant) for variant in self._variants}
        start = {name: t.clone() for name, t in models[self._variants[0]][0].state_dict().items()}

        def attempt(variant: Variant, steps: int) -> None:
            self._train(variant, self._begin(*models[variant], steps=steps), steps)

        trial = find_fastest(self._variants, attempt)
        self._variant = trial.best
        self._raw, self._model = models[trial.best]
        # As if nothing had been tried.
        self._raw.load_state_dict(start)
        training = self._run.training
        return {
            "batch_size": training.batch_size,
            **asdict(self._variant),
            "augmentation": "batched gather from a uint8 tensor in memory, per-sample offsets",
            "optimizer": f"{'fused' if self._fused else 'unfused'} {training.optimizer.kind}",
            "schedule": training.schedule.kind,
            "first_step_seconds": trial.first_step_seconds,
            **trial.record,
        }

    @property
    def model(self) -> nn.Module:
        """The net that it trains, not compiled."""
        return self._raw

    def run_round(self, number: int) -> Round:
        """One epoch, a whole training with a whole schedule of its own."""
        torch.manual_seed(number)
        steps = self._batches.steps_per_epoch
        training = self._begin(self._raw, self._model, steps=steps)
        total = self._train(self._variant, training, steps)
        return Round(images=steps * self._batches.size, steps=steps, loss=total.item() / steps)

    def run_epoch(self, number: int) -> Round:
        """The next epoch of the run's training, counted from 1."""
        steps = self._batches.steps_per_epoch
        torch.manual_seed(1000 * self._run.seeds.order + number)
        if number == 1:
            total_steps = steps * self._run.training.epochs
            self._training = self._begin(self._raw, self._model, steps=total_steps)
            self._raw.train()
        total = self._train(self._variant, self._training, steps)
        return Round(images=steps * self._batches.size, steps=steps, loss=total.item() / steps)

    def _build(self, variant: Variant) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
        """The net, and what is called for it."""
        raw = initial_model(self._run).train().to(memory_format=variant.torch_format)
        return raw, torch.compile(raw, dynamic=False) if variant.compile else raw

    def _begin(self, raw: nn.Module, model: Callable[[Tensor], Tensor], *, steps: int) -> _Training:
        training = self._run.training
        optimizer = stock_optimizer(raw, training, fused=self._fused)
        share = partial(
            learning_rate,
            training.schedule,
            1.0,
            total_steps=steps,
            steps_per_epoch=self._batches.steps_per_epoch,
        )
        # The schedule looks one step ahead.
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: share(min(step, steps - 1))
        )
        return _Training(raw=raw, model=model, optimizer=optimizer, schedule=schedule)

    def _train(self, variant: Variant, training: _Training, steps: int) -> Tensor:
        """So many steps; the sum of their losses."""
        total = torch.zeros(())
        training.raw.train()
        for batch_NCHW, labels_N in self._batches.draw(steps, variant.torch_format):
            with variant.autocast():
                loss = self._criterion(training.model(batch_NCHW), labels_N)
            training.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            training.optimizer.step()
            training.schedule.step()
            total += loss.detach()
        return total


def _check_stock(run: ResolvedRun) -> None:
    """Refuse settings that the stock loop does not have, instead of leaving them out.

    Raises:
        UserError: with their names.
    """
    augment, training = run.data.augment, run.training
    odd = {
        "data.augment.trivial": augment.trivial,
        "data.augment.cutout": augment.cutout,
        "data.augment.erasing": augment.erasing,
        "data.sampling": run.data.sampling != "natural",
        "training.optimizer.kind=muon": isinstance(training.optimizer, Muon),
        "training.l1": training.l1,
        "training.l2": training.l2,
        "training.clip_norm": training.clip_norm,
        "training.mixup": training.mixup,
        "training.cutmix": training.cutmix,
        "training.ema": training.ema,
        "training.class_weights": training.class_weights,
    }
    asked = [name for name, value in odd.items() if value]
    if asked:
        raise UserError(f"the stock loop has no {', '.join(asked)}")


def tuned_loop(work: Work) -> StockLoop:
    """The stock loop as a good practitioner runs it: the best of the whole grid, fused update."""
    return StockLoop(work, grid(), fused=True)


def plain_loop(work: Work) -> StockLoop:
    """The loop as a beginner writes it, on batches that cost next to nothing."""
    return StockLoop(work, [PLAIN], fused=False)
