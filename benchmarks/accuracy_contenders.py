"""Whole trainings, an epoch at a time: reslab's recipe, a tuned stock loop, the notes' loops.

Each is built in a worker's process. What it offers: ``prepare()``, ``run_epoch(number)`` with
epochs counted from 1, and ``test()``, which is never timed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import nn

from peers import NoteLoop, StockLoop, Work, plain_loop, tuned_loop
from race import KEEP_FREED, Round
from reslab.data.normalise import Normaliser
from reslab.data.source import Images
from reslab.engine.runtime import Runtime
from reslab.inference.eager import compute_logits
from reslab.training.fit import begin, fit
from reslab.workbench.resolve import Prepared, normaliser_of, train_batches
from reslab.workbench.train import initial_model


@dataclass(frozen=True, kw_only=True)
class Task:
    """A training and what it is judged by.

    Attributes:
        prepared: settings, and the images to train on.
        test: the images that tell the accuracy; nothing is ever chosen by them.
        compile: whether the stock loop may choose torch.compile.
    """

    prepared: Prepared
    test: Images
    compile: bool

    def work(self) -> Work:
        """It as the loops of ``peers`` take it."""
        return Work(run=self.prepared.run, images=self.prepared.train, compile=self.compile)

    def accuracy(self, model: nn.Module, normaliser: Normaliser) -> float:
        """Fraction of the test images that the net gets right, in evaluation mode and fp32."""
        runtime = Runtime(**self.prepared.run.engine.model_dump())
        logits_NK = compute_logits(model, self.test.pixels_NCHW, normaliser, runtime)
        return float((logits_NK.argmax(axis=1) == self.test.labels_N).mean())


class ReslabTraining:
    """reslab's ``fit`` on its own batches, stopped after each epoch and gone on with.

    Args:
        task: what to train.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._runtime = Runtime(**task.prepared.run.engine.model_dump())

    def prepare(self) -> dict[str, Any]:
        """Build net and optimiser, as ``reslab train`` does; all of it counts as start."""
        run = self._task.prepared.run
        model = initial_model(run, self._runtime)
        batches = train_batches(self._task.prepared)
        self._stepper = begin(model, batches, run.training, self._runtime)
        return {"engine": run.engine.model_dump(), "start_counts": "all"}

    def run_epoch(self, number: int) -> Round:
        """The next epoch."""
        state = self._stepper.state
        before = state.step
        with self._runtime.active():
            fit(self._stepper, should_stop=lambda: len(state.history) >= number)
        steps = state.step - before
        return Round(
            images=steps * self._stepper.batches.batch_size,
            steps=steps,
            loss=state.history[-1].train_loss,
        )

    def test(self) -> float:
        """Accuracy of what a run would judge: the averaged weights where it keeps an average."""
        with self._runtime.active():
            return self._task.accuracy(
                self._stepper.state.judged, normaliser_of(self._task.prepared.run)
            )


class StockTraining:
    """A stock loop of ``peers`` on the run's settings.

    Args:
        make: builds the loop.
        task: what to train.
    """

    def __init__(self, make: Callable[[Work], StockLoop], task: Task) -> None:
        self._task = task
        self._loop = make(task.work())

    def prepare(self) -> dict[str, Any]:
        """Find the fastest variant; of that, only what it took to compile counts."""
        chosen = self._loop.prepare()
        counts = chosen["first_step_seconds"] if chosen["compile"] else 0.0
        return {**chosen, "start_counts": counts}

    def run_epoch(self, number: int) -> Round:
        """The next epoch."""
        return self._loop.run_epoch(number)

    def test(self) -> float:
        """Accuracy of the weights as they are."""
        return self._task.accuracy(self._loop.model, normaliser_of(self._task.prepared.run))


class NoteTraining:
    """The note's loop, literally; it scales pixels to 0 … 1 and normalises no further.

    Args:
        task: what to train.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._loop = NoteLoop(task.work())

    def prepare(self) -> dict[str, Any]:
        """Nothing to choose."""
        return {**self._loop.prepare(), "start_counts": 0.0}

    def run_epoch(self, number: int) -> Round:
        """The next epoch."""
        return self._loop.run_round(number)

    def test(self) -> float:
        """Accuracy of the weights as they are."""
        channels = self._task.prepared.run.facts.channels
        return self._task.accuracy(
            self._loop.model, Normaliser((0.0,) * channels, (1.0,) * channels)
        )


@dataclass(frozen=True, kw_only=True)
class Contender:
    """Who trains.

    Attributes:
        make: builds it in its process.
        what: what it is.
        is_plain: whether it trains the recipe of the note, at most so many epochs as are asked
            for and no further than the highest target.
        environment: of its process.
    """

    make: Callable[[Task], object]
    what: str
    is_plain: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


CONTENDERS = {
    "reslab": Contender(make=ReslabTraining, what="a reslab recipe"),
    "stock": Contender(
        make=partial(StockTraining, tuned_loop),
        what="the best stock loop, glibc keeping freed memory, with a recipe's net, schedule, "
        "batch and augmentation",
        environment=KEEP_FREED,
    ),
    "plain": Contender(
        make=partial(StockTraining, plain_loop),
        what="mnist-basic in a plain loop: fp32, contiguous, eager, unfused",
        is_plain=True,
    ),
    "note": Contender(
        make=NoteTraining, what="mnist-basic as the note writes it, with PIL", is_plain=True
    ),
}
