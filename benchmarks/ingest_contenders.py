"""Who reads photographs: reslab's first and later epochs, and torchvision's ways."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.io import ImageReadMode, decode_image, read_file
from torchvision.transforms import v2

from race import Entrant, Round
from reslab.data.batches import TrainBatches
from reslab.data.normalise import measure_normaliser
from reslab.data.pictures.folder import FileSettings, open_folder
from reslab.engine.runtime import Runtime
from reslab.folders import cache_folder

# ImageNet's, as everybody normalises with.
_MEAN, _SD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What all do: random parts of photographs, scaled and mirrored, as normalised batches.

    Attributes:
        root: folder of the photographs.
        size: side of the images, in pixels.
        batch_size: of the batches.
        least: share of a photograph that a random part has at least.
    """

    root: Path
    size: int
    batch_size: int
    least: float


class Reslab:
    """reslab's way: decoded once into the cache, random parts of what is there.

    Args:
        work: what is read.
        first: whether each round begins without a cache.
    """

    def __init__(self, work: Reading, *, first: bool) -> None:
        self._work = work
        self._first = first
        self._batches: TrainBatches | None = None
        self._runtime = Runtime(threads=torch.get_num_threads())

    def prepare(self) -> dict[str, Any]:
        """Fill the cache, where it is one's own to use."""
        if not self._first:
            self._batches = self._open()
        return _described(self._work)

    def run_round(self, number: int) -> Round:
        """An epoch, as in training: with the engine's allocator and threads."""
        with self._runtime.active():
            return self._epoch(number)

    def _epoch(self, number: int) -> Round:
        if self._first:
            shutil.rmtree(cache_folder("pictures"), ignore_errors=True)
            self._batches = self._open()
        assert self._batches is not None
        steps = self._batches.steps_per_epoch
        for step in range(steps):
            _take(self._batches.batch(number, step).images_NCHW)
        return _round(steps, self._work)

    def _open(self) -> TrainBatches:
        work = self._work
        images = open_folder(work.root, FileSettings(image_size=work.size, test=0.0)).load_train()
        return TrainBatches(
            images=images,
            normaliser=measure_normaliser(images.pixels_NCHW),
            batch_size=work.batch_size,
            crop=work.size,
            flip=True,
            resized=work.least,
        )


class Torchvision:
    """A DataLoader with torchvision's transforms.

    Args:
        work: what is read.
        decode: reads a file.
        workers: processes that do it; 0: the one that trains.
    """

    def __init__(self, work: Reading, *, decode: Callable[[str], Any], workers: int) -> None:
        self._work = work
        self._loader = DataLoader(
            Photographs(work, decode),
            batch_size=work.batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
            persistent_workers=workers > 0,
        )

    def prepare(self) -> dict[str, Any]:
        """Nothing needs to be."""
        return _described(self._work)

    def run_round(self, number: int) -> Round:
        """An epoch."""
        del number
        steps = 0
        for images_NCHW, _ in self._loader:
            _take(images_NCHW)
            steps += 1
        return _round(steps, self._work)


class Photographs(Dataset[tuple[Tensor, int]]):
    """Files of the classes' folders, decoded and transformed."""

    def __init__(self, work: Reading, decode: Callable[[str], Any]) -> None:
        classes = sorted(folder.name for folder in work.root.iterdir())
        self._files = [
            (str(path), label)
            for label, name in enumerate(classes)
            for path in sorted((work.root / name).iterdir())
        ]
        self._decode = decode
        self._transform = v2.Compose(
            [
                v2.RandomResizedCrop(work.size, scale=(work.least, 1.0), antialias=True),
                v2.RandomHorizontalFlip(),
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(_MEAN, _SD),
            ]
        )

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        path, label = self._files[row]
        return self._transform(self._decode(path)), label


def by_torchvision(path: str) -> Tensor:
    """torchvision.io, as a tensor of bytes."""
    image_CHW: Tensor = decode_image(read_file(path), ImageReadMode.RGB)
    return image_CHW


def by_pillow(path: str) -> Image.Image:
    """Pillow, as torchvision's ImageFolder has it by default."""
    with Image.open(path) as image:
        return image.convert("RGB")


def entrants(work: Reading, workers: Mapping[str, int], cache: Path) -> dict[str, Entrant]:
    """All contenders by name.

    Args:
        work: what is read.
        workers: numbers of worker processes, by the end of a contender's name.
        cache: folder for reslab's caches.
    """
    found = {}
    for name, first in (("reslab-first", True), ("reslab-later", False)):
        found[name] = Entrant(
            make=_Make(Reslab, work, {"first": first}),
            what="decoded by threads, packed" if first else "from the pack",
            environment={"XDG_CACHE_HOME": str(cache / name)},
        )
    for decoder, decode in (("torchvision", by_torchvision), ("pillow", by_pillow)):
        for end, count in workers.items():
            found[f"{decoder}-{end}"] = Entrant(
                make=_Make(Torchvision, work, {"decode": decode, "workers": count}),
                what=f"DataLoader with {count} workers, decoded by {decoder}",
                has_children=count > 0,
            )
    return found


@dataclass(frozen=True)
class _Make:
    """Builds a contender in its process."""

    kind: Callable[..., object]
    work: Reading
    options: Mapping[str, Any]

    def __call__(self) -> object:
        return self.kind(self.work, **self.options)


def _take(images_NCHW: Tensor) -> None:
    """What a net would do first: look at all of it."""
    images_NCHW.sum().item()


def _described(work: Reading) -> dict[str, Any]:
    return {"batch_size": work.batch_size}


def _round(steps: int, work: Reading) -> Round:
    return Round(images=steps * work.batch_size, steps=steps, loss=0.0, memory_bytes=_memory())


def _memory() -> int:
    """What this process and its children hold of their own now."""
    own = psutil.Process(os.getpid())
    total = 0
    for process in _family(own):
        total += process.memory_full_info().uss
    return total


def _family(own: psutil.Process) -> Iterator[psutil.Process]:
    yield own
    yield from own.children(recursive=True)
