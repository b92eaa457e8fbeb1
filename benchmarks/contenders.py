"""Who takes part: reslab's own harness and its peers, each with its process's environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from peers import NoteLoop, Work, initial_model, plain_loop, tuned_loop
from race import KEEP_FREED, Entrant, Round
from reslab.data.batches import TrainBatches
from reslab.engine.runtime import Runtime
from reslab.training.fit import begin, fit
from reslab.workbench.resolve import normaliser_of


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

    def run_round(self, number: int) -> Round:
        """One epoch, a whole training of its own on an order of its own."""
        batches = replace(self._batches, order_seed=number, augmentation_seed=number)
        with self._runtime.active():
            result = fit(begin(self._model, batches, self._training, self._runtime))
        images = result.steps * batches.batch_size
        return Round(images=images, steps=result.steps, loss=result.history[-1].train_loss)


@dataclass(frozen=True, kw_only=True)
class Loop:
    """A way to train whole epochs: what builds it in its process, and that one's environment."""

    make: Callable[[Work], object]
    what: str
    environment: Mapping[str, str] = field(default_factory=dict)

    def entrant(self, work: Work) -> Entrant:
        """It as it takes part."""
        make = partial(self.make, work)
        return Entrant(make=make, what=self.what, environment=self.environment)


CONTENDERS = {
    "reslab": Loop(make=Harness, what="reslab.training.fit.fit"),
    "tuned": Loop(make=tuned_loop, what="tuned stock loop, stock allocator"),
    "tuned-keep": Loop(
        make=tuned_loop,
        what="the tuned loop, glibc told by its environment to keep freed memory",
        environment=KEEP_FREED,
    ),
    "plain": Loop(make=plain_loop, what="fp32, eager, contiguous, unfused; batches as tuned"),
    "note": Loop(make=NoteLoop, what="the note's plain loop"),
}
DEFAULT_CONTENDERS = ("reslab", "tuned", "note")
