"""Who takes part in the step benchmark: reslab, the stock grid, its cells, and others."""

from __future__ import annotations

import ctypes.util
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from measure import trim_memory
from race import KEEP_FREED, Entrant, Round
from reslab.data.batches import TrainBatches
from reslab.engine.runtime import Runtime
from reslab.training.fit import begin
from reslab.workbench.resolve import normaliser_of
from reslab.workbench.train import initial_model
from step_keras import KerasStep
from step_peers import (
    GRID_WAY,
    PLAIN_WAY,
    TIMM_WAY,
    TORCHVISION_WAY,
    TorchStep,
    Way,
    run_steps,
)
from step_work import StepWork
from stock import grid


class ReslabStep:
    """reslab's own step, made as ``fit`` makes it, with the engine that was resolved.

    ``Stepper.make`` gathers a batch from the uint8 images in memory, normalises it and calls
    ``reslab.training.step.train_step``. The gathering is what its peers are spared.

    Args:
        work: what all contenders do.
    """

    def __init__(self, work: StepWork) -> None:
        run = work.run
        self._work = work
        self._runtime = Runtime(**run.engine.model_dump())
        batches = TrainBatches(
            images=work.images,
            normaliser=normaliser_of(run),
            batch_size=work.batch_size,
            crop=work.image_size,
            classes=work.classes,
        )
        model = initial_model(run, self._runtime).train()
        self._stepper = begin(model, batches, run.training, self._runtime)
        self._next = 0

    def prepare(self) -> dict[str, Any]:
        """Nothing left to choose; makes the first step and tells what was resolved."""
        engine = self._work.run.engine
        first = self._timed_step()
        return {
            "batch_size": self._work.batch_size,
            "precision": engine.precision,
            "memory_format": engine.memory_format,
            "compile": engine.compile,
            "engine": engine.model_dump(),
            "first_step_seconds": first,
        }

    def wake(self) -> None:
        """A step that is not timed."""
        self._timed_step()

    def rest(self) -> None:
        """Give back what the allocator keeps, for those whose turn it is."""
        trim_memory()

    def run_round(self, number: int) -> Round:
        """As many steps as fit into a round."""
        with self._runtime.active(), self._runtime.own_random_state():
            return run_steps(self._work, self._step)

    def _timed_step(self) -> float:
        began = time.perf_counter()
        with self._runtime.active(), self._runtime.own_random_state():
            self._step().item()
        return time.perf_counter() - began

    def _step(self) -> Any:
        epoch, i = divmod(self._next, self._stepper.batches.steps_per_epoch)
        self._next += 1
        result = self._stepper.make(epoch, i, self._stepper.training.lr)
        if result.fault is not None:
            raise RuntimeError(result.fault.what)
        return result.loss


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A way to make steps.

    Attributes:
        make: builds it in its process.
        what: what it is.
        environment: of its process.
        nets: that it has; empty: all.
        part_of: the group that it is chosen by, besides its name.
    """

    make: Callable[[StepWork], object]
    what: str
    environment: Mapping[str, str] = field(default_factory=dict)
    nets: tuple[str, ...] = ()
    part_of: str = ""

    def has(self, work: StepWork) -> bool:
        """Whether it can train this net."""
        return not self.nets or work.run.model.name in self.nets

    def entrant(self, work: StepWork) -> Entrant:
        """It as it takes part."""
        return Entrant(
            make=partial(self.make, work),
            what=self.what,
            environment=self.environment,
            rests=True,
        )


def _torch(way: Way, what: str, **options: Any) -> Contender:
    return Contender(make=partial(TorchStep, way), what=what, **options)


def _preloaded(library: str) -> dict[str, str]:
    """The environment of a process whose allocator is another library; empty without it."""
    for name in (library, f"{library}_minimal"):
        found = ctypes.util.find_library(name)
        if found:
            return {"LD_PRELOAD": found}
    return {}


CONTENDERS: dict[str, Contender] = {
    "reslab": Contender(make=ReslabStep, what="reslab's step with the resolved engine"),
    "grid": _torch(GRID_WAY, "the best of the stock grid by trial, fused SGD"),
    "grid-keep": _torch(
        GRID_WAY,
        "the same, glibc told by its environment to keep freed memory",
        environment=KEEP_FREED,
    ),
    **{
        f"grid-{library}": _torch(
            GRID_WAY, f"the same with {library} as its allocator", environment=_preloaded(library)
        )
        for library in ("tcmalloc", "jemalloc")
        if _preloaded(library)
    },
    "plain": _torch(PLAIN_WAY, "fp32, eager, contiguous, unfused SGD"),
    "torchvision": _torch(
        TORCHVISION_WAY,
        "torchvision's net and the step of its references/classification, fp32",
        nets=("resnet18", "resnet50"),
    ),
    "timm": _torch(
        TIMM_WAY,
        "timm's net, optimiser and the step of its train.py",
        nets=("resnet18", "resnet50"),
    ),
    "keras-jax": Contender(
        make=KerasStep,
        what="Keras 3 on JAX, train_on_batch",
        environment={"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        nets=("resnet14", "resnet18", "resnet20", "resnet50"),
    ),
    "keras-torch": Contender(
        make=KerasStep,
        what="Keras 3 on torch, train_on_batch",
        environment={"KERAS_BACKEND": "torch"},
        nets=("resnet14", "resnet18", "resnet20", "resnet50"),
    ),
    **{
        f"cell-{cell.name}": _torch(
            Way(
                build=GRID_WAY.build,
                optimizer=GRID_WAY.optimizer,
                step=GRID_WAY.step,
                variants=(cell,),
            ),
            "one cell of the stock grid",
            environment=KEEP_FREED,
            part_of="cells",
        )
        for cell in grid()
    },
}
DEFAULT_CONTENDERS = ("reslab", "grid", "grid-keep", "plain", "torchvision", "timm", "keras-jax")


def chosen(names: list[str]) -> list[str]:
    """Names, in the order given, each once; ``cells`` stands for every cell of the grid."""
    found = [
        name
        for asked in names
        for name in (
            [asked]
            if asked in CONTENDERS
            else [n for n, contender in CONTENDERS.items() if contender.part_of == asked]
        )
    ]
    return list(dict.fromkeys(found))
