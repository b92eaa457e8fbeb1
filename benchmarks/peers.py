"""How others train the same net on the same images: the note's loop, and a tuned stock loop.

Each is built in a worker process (``measure.Worker``) that has torch's and glibc's stock state.
Shape suffixes: ``N`` images, ``C`` channels, ``H`` and ``W`` rows and columns, ``S`` the crop.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from reslab.data.source import Images
from reslab.spec.resolved import ResolvedRun
from reslab.workbench.resolve import build_model

NOTE_BATCH = 32
_SAY_EVERY = 100
_TRIAL_TURNS = 3
_TRIAL_STEPS = 4


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What an epoch came to, the same for all contenders."""

    images: int
    steps: int
    loss: float


@dataclass(frozen=True, kw_only=True)
class Work:
    """What all contenders do.

    Attributes:
        run: net, augmentation, batch size and settings of the training.
        images: the images to train on.
        compile: whether the tuned loop may choose torch.compile too.
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

    def run_round(self, number: int) -> Epoch:
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
        return Epoch(images=images, steps=len(self._loader), loss=loss.item())


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One configuration of the stock grid."""

    precision: str
    memory_format: str
    compile: bool


class TunedLoop:
    """A stock loop as a good practitioner writes it, in the best configuration of a stock grid.

    All images lie in memory as one padded uint8 tensor; each batch is cut out of it with an own
    offset and mirroring for every sample (one gather of rows, one of columns), then
    normalised. Fused SGD with Nesterov momentum, one-cycle schedule, no DataLoader, and the
    loss is read once an epoch. Which of {fp32, bf16 autocast} x {contiguous, channels_last}
    (x {eager, compiled}) is fastest is found by trial before the first round.
    """

    def __init__(self, work: Work) -> None:
        self._run = work.run
        self._may_compile = work.compile
        augment = work.run.data.augment
        pixels_NCHW = torch.from_numpy(work.images.pixels_NCHW)
        self._padded_NCHW = nn.functional.pad(pixels_NCHW, (augment.pad,) * 4)
        self._labels_N = torch.from_numpy(work.images.labels_N)
        mean, sd = torch.tensor(work.run.facts.mean), torch.tensor(work.run.facts.sd)
        self._scale = (1 / (255 * sd)).view(-1, 1, 1)
        self._shift = (-mean / sd).view(-1, 1, 1)
        self._line = torch.arange(augment.crop)
        self._criterion = nn.CrossEntropyLoss(label_smoothing=work.run.training.label_smoothing)

    def prepare(self) -> dict[str, Any]:
        """Try the grid and keep the fastest; tells which, and what each took."""
        variants = [
            Variant(precision=precision, memory_format=memory_format, compile=compiled)
            for compiled in ((False, True) if self._may_compile else (False,))
            for precision in ("fp32", "bf16")
            for memory_format in ("contiguous", "channels_last")
        ]
        began = time.perf_counter()
        models = {variant: self._build(variant) for variant in variants}
        seconds: dict[Variant, list[float]] = {variant: [] for variant in variants}
        first: dict[Variant, float] = {}
        for variant, model in models.items():
            first[variant] = self._try(variant, model, 1)
        for _ in range(_TRIAL_TURNS):
            for variant, model in models.items():
                seconds[variant].append(self._try(variant, model, _TRIAL_STEPS))
        self._variant = min(variants, key=lambda v: min(seconds[v]))
        self._model = models[self._variant]
        return {
            "batch_size": self._run.training.batch_size,
            **asdict(self._variant),
            "augmentation": "batched gather from a uint8 tensor in memory, per-sample offsets",
            "optimizer": "fused SGD, Nesterov, one-cycle",
            "grid": [
                {
                    **asdict(variant),
                    "milliseconds_a_step": 1e3 * min(seconds[variant]),
                    "first_step_seconds": first[variant],
                }
                for variant in variants
            ],
            "choosing_seconds": time.perf_counter() - began,
        }

    def run_round(self, number: int) -> Epoch:
        """One epoch with a whole one-cycle schedule."""
        torch.manual_seed(number)
        size = self._run.training.batch_size
        steps = len(self._labels_N) // size
        total = self._train(self._variant, self._model, steps)
        return Epoch(images=steps * size, steps=steps, loss=total.item() / steps)

    def _build(self, variant: Variant) -> nn.Module:
        model = initial_model(self._run).train()
        model = model.to(memory_format=_torch_format(variant))
        return torch.compile(model, dynamic=False) if variant.compile else model  # type: ignore[return-value]

    def _try(self, variant: Variant, model: nn.Module, steps: int) -> float:
        """Seconds a step."""
        began = time.perf_counter()
        self._train(variant, model, steps)
        return (time.perf_counter() - began) / steps

    def _train(self, variant: Variant, model: nn.Module, steps: int) -> Tensor:
        """So many steps; the sum of their losses."""
        training = self._run.training
        optimizer = torch.optim.SGD(
            model.parameters(),
            lr=training.lr,
            momentum=0.9,
            nesterov=True,
            weight_decay=training.weight_decay,
            fused=True,
        )
        # torch's schedule looks one step ahead and refuses a total of one.
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, training.lr, total_steps=steps + 1, cycle_momentum=False
        )
        total = torch.zeros(())
        for batch_NCHW, labels_N in self._batches(variant, steps):
            with _autocast(variant):
                loss = self._criterion(model(batch_NCHW), labels_N)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.detach()
        return total

    def _batches(self, variant: Variant, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
        size = self._run.training.batch_size
        order_N = torch.randperm(len(self._labels_N))
        for step in range(steps):
            # Trials may ask for more steps than there are batches.
            begin = step * size % (len(order_N) - size + 1)
            chosen_N = order_N[begin : begin + size]
            images_NCSS = self._cut(chosen_N).float().mul_(self._scale).add_(self._shift)
            yield (
                images_NCSS.contiguous(memory_format=_torch_format(variant)),
                self._labels_N[chosen_N],
            )

    def _cut(self, chosen_N: Tensor) -> Tensor:
        """A random square of each chosen image, every second one mirrored; uint8 (N, C, S, S)."""
        channels, height, width = self._padded_NCHW.shape[1:]
        n, line, crop = len(chosen_N), self._line, len(self._line)
        first_row_N = torch.randint(0, height - crop + 1, (n,))
        first_column_N = torch.randint(0, width - crop + 1, (n,))
        plane_NC = chosen_N[:, None] * channels + torch.arange(channels)
        row_NCS = (plane_NC * height + first_row_N[:, None])[:, :, None] + line
        rows_NCSW = self._padded_NCHW.view(-1, width).index_select(0, row_NCS.view(-1))
        column_NS = first_column_N[:, None] + line
        if self._run.data.augment.flip:
            mirrored_N1 = torch.rand(n, 1) < 0.5
            column_NS = torch.where(mirrored_N1, column_NS.flip(1), column_NS)
        return rows_NCSW.view(n, channels, crop, width).gather(
            3, column_NS[:, None, None].expand(n, channels, crop, crop)
        )


def _torch_format(variant: Variant) -> torch.memory_format:
    last = variant.memory_format == "channels_last"
    return torch.channels_last if last else torch.contiguous_format


def _autocast(variant: Variant) -> contextlib.AbstractContextManager[object]:
    if variant.precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast("cpu", dtype=torch.bfloat16)
