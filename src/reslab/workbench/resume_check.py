"""Does a training that is cut and resumed come out as one that is not? Tried, not believed.

A short training of the same net, engine and settings is made twice: in one process, and in
parts, each in a process of its own that knows of the others only what the checkpoint holds.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from reslab.data.source import DataSource
from reslab.engine.runtime import Runtime
from reslab.errors import ReslabError
from reslab.runs.checkpoint import Checkpoint, Checkpoints
from reslab.runs.history import without_times
from reslab.spec.run import RunSpec
from reslab.training.fit import begin, fit
from reslab.training.rehearsal import rehearse
from reslab.training.saver import Saver
from reslab.training.state import history_in
from reslab.workbench.resolve import Prepared, resolve, train_batches
from reslab.workbench.resume import prepare_again
from reslab.workbench.run import Run
from reslab.workbench.train import initial_model, validator

# Two epochs of at most so many steps.
_STEPS = 4

# Validation images that are enough to choose a best epoch by.
_VALIDATION = 200


@dataclass(frozen=True, kw_only=True)
class ResumeCheck:
    """What the two trainings came to.

    Attributes:
        steps: of each.
        cuts: steps after which one of them was cut.
        tensors: of net, optimiser and best weights that were compared.
        differing: what was not equal to the bit.
    """

    steps: int
    cuts: tuple[int, ...]
    tensors: int
    differing: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether nothing differed."""
        return not self.differing


def check_resume(
    asked: RunSpec | Run,
    *,
    data: DataSource | None = None,
    root: str | None = None,
    tell: Callable[[str], object] = lambda text: None,
) -> ResumeCheck:
    """Make the two trainings, on the first images of the data, and compare their states.

    Args:
        asked: what to run, or a run whose settings and engine to take; it is not changed.
        data: a data set of one's own.
        root: folder of the data set's files, for a run whose data were moved.
        tell: given a line whenever a new process begins.

    Raises:
        UserError: where the training cannot be made here.
        TrainingDiverged: where it is not finite.
    """
    prepared = prepare_again(asked, data, root) if isinstance(asked, Run) else resolve(asked, data)
    short = _shorten(prepared)
    cuts = cuts_of(short.run.facts.steps_per_epoch)
    with tempfile.TemporaryDirectory(prefix="reslab-resume-check-") as folder:
        whole = _in_parts(short, Path(folder) / "whole", (), tell)
        parts = _in_parts(short, Path(folder) / "parts", cuts, tell)
    return ResumeCheck(
        steps=short.run.total_steps,
        cuts=cuts,
        tensors=len(whole.tensors),
        differing=tuple(_differences(whole, parts)),
    )


def cuts_of(steps_per_epoch: int) -> tuple[int, ...]:
    """Where two epochs are cut: within the first, between the two, within the second.

    >>> cuts_of(4), cuts_of(1)
    ((3, 4, 6), (1,))
    """
    n = steps_per_epoch
    return tuple(sorted({cut for cut in (n - 1, n, 2 * n - 2) if 0 < cut < 2 * n}))


def _shorten(prepared: Prepared) -> Prepared:
    """The same training with fewer images and epochs."""
    run = prepared.run
    steps = min(_STEPS, run.facts.steps_per_epoch)
    facts = run.facts.model_copy(update={"steps_per_epoch": steps})
    training = run.training.model_copy(update={"epochs": 2, "time_limit": None})
    validation = prepared.validation
    return replace(
        prepared,
        # Steps have no use for it, and one of someone's own may not be sent to a process.
        source=cast(DataSource, None),
        run=run.model_copy(update={"facts": facts, "training": training}),
        train=prepared.train.take(np.arange(steps * run.training.batch_size)),
        validation=validation.take(np.arange(min(_VALIDATION, len(validation)))),
    )


def _in_parts(
    prepared: Prepared, folder: Path, cuts: tuple[int, ...], tell: Callable[[str], object]
) -> Checkpoint:
    """The last state of a training that was cut after these steps."""
    context = multiprocessing.get_context("spawn")
    begins = 0
    for cut in (*cuts, None):
        ends = prepared.run.total_steps if cut is None else cut
        tell(f"a new process makes steps {begins + 1} to {ends} of {prepared.run.total_steps}")
        begins = ends
        # A new process for each part: nothing may come along but what lies in the folder.
        answer, speaker = context.Pipe(duplex=False)
        part = context.Process(
            target=_report_part, args=(speaker, prepared, folder, cut), daemon=True
        )
        part.start()
        speaker.close()
        try:
            error = answer.recv()
        except EOFError:
            part.join()
            raise ReslabError(
                f"a part of the training was killed (code {part.exitcode}); there may be too "
                "little memory"
            ) from None
        finally:
            # Whoever is interrupted here leaves nobody behind.
            if sys.exc_info()[0] is not None:
                part.terminate()
            part.join()
        if error is not None:
            raise error
    found, _ = Checkpoints(folder).load()
    if found is None:
        raise ReslabError("the training left no checkpoint")
    return found


def _report_part(speaker: Connection, prepared: Prepared, folder: Path, cut: int | None) -> None:
    """In the new process: train, and send what went wrong, or None."""
    try:
        _train_part(prepared, folder, cut)
    except ReslabError as error:
        speaker.send(ReslabError(str(error)))
    else:
        speaker.send(None)


def _train_part(prepared: Prepared, folder: Path, cut: int | None) -> None:
    """From the last checkpoint, if there is one, to the cut or the end."""
    run = prepared.run
    runtime = Runtime(**run.engine.model_dump())
    folder.mkdir(exist_ok=True)
    checkpoints = Checkpoints(folder)
    found, _ = checkpoints.load()
    with runtime.active():
        model = initial_model(run, runtime)
        # Batches are not cut here: that would be another training, and nobody to tell.
        stepper = begin(model, train_batches(prepared), run.training, runtime)
        if found is not None:
            stepper.state.restore(found)
        rehearse(stepper)
        fit(
            stepper,
            validate=validator(prepared, runtime),
            should_stop=lambda: stepper.state.step == cut,
            saver=Saver(checkpoints.save, float("inf")),
        )


def _differences(a: Checkpoint, b: Checkpoint) -> list[str]:
    odd = [
        name
        for name in sorted(a.tensors.keys() | b.tensors.keys())
        if name not in a.tensors
        or name not in b.tensors
        or not _same_bits(a.tensors[name], b.tensors[name])
    ]
    return odd + [f"the {name}" for name in _facts(a) if _facts(a)[name] != _facts(b).get(name)]


def _facts(checkpoint: Checkpoint) -> dict[str, Any]:
    """What is no tensor, times left out."""
    facts = {name: value for name, value in checkpoint.facts.items() if name != "watch"}
    facts["history"] = [without_times(record) for record in history_in(checkpoint)]
    return facts


def _same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Unlike torch.equal this tells +0 from -0, and finds NaN equal to itself."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    return torch.equal(a.reshape(-1).view(torch.uint8), b.reshape(-1).view(torch.uint8))
