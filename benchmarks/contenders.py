"""Who takes part: reslab's own harness and its peers, each with its process's environment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from peers import Epoch, NoteLoop, TunedLoop, Work, initial_model
from reslab.data.batches import TrainBatches
from reslab.engine.runtime import Runtime
from reslab.training.fit import begin, fit
from reslab.workbench.resolve import normaliser_of

# glibc's own switches for what reslab's engine asks of it through mallopt.
KEEP_FREED = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}


class Harness:
    """reslab itself: ``fit`` on ``TrainBatches`` with the engine that was resolved here."""

    def __init__(self, work: Work) -> None:
        run = work.run
        self._training = run.training
        self._engine = run.engine
        self._runtime = Runtime(**run.engine.model_dump())
        self._model = self._runtime.place_model(initial_model(run))
        self._batches = TrainBatches(
            images=work.images,
            normaliser=normaliser_of(run),
            batch_size=run.training.batch_size,
            pad=run.data.augment.pad,
            crop=run.data.augment.crop,
            flip=run.data.augment.flip,
            cutout=run.data.augment.cutout,
        )

    def prepare(self) -> dict[str, Any]:
        """Nothing left to choose; tells what was resolved."""
        return {
            "batch_size": self._batches.batch_size,
            "precision": self._engine.precision,
            "memory_format": self._engine.memory_format,
            "compile": self._engine.compile,
            "augmentation": "reslab.data.batches, per-sample offsets",
            "optimizer": "as the spec says: fused SGD, Nesterov, one-cycle",
        }

    def run_round(self, number: int) -> Epoch:
        """One epoch, a whole training of its own on an order of its own."""
        batches = replace(self._batches, order_seed=number, augmentation_seed=number)
        with self._runtime.active():
            result = fit(begin(self._model, batches, self._training, self._runtime))
        images = result.steps * batches.batch_size
        return Epoch(images=images, steps=result.steps, loss=result.history[-1].train_loss)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A contender: what builds it in its process, and that process's environment."""

    make: Callable[[Work], object]
    what: str
    environment: dict[str, str]


CONTENDERS = {
    "reslab": Entry(make=Harness, what="reslab.training.fit.fit", environment={}),
    "tuned": Entry(make=TunedLoop, what="tuned stock loop, stock allocator", environment={}),
    "tuned-keep": Entry(
        make=TunedLoop,
        what="the tuned loop, glibc told by its environment to keep freed memory",
        environment=KEEP_FREED,
    ),
    "note": Entry(make=NoteLoop, what="the note's plain loop", environment={}),
}
DEFAULT_CONTENDERS = ("reslab", "tuned", "note")
