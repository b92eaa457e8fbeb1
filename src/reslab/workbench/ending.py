"""How a training ended: written into its folder, and told to observers once."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from reslab.engine.memory import peak_bytes
from reslab.errors import Interrupted, StorageError, UserError
from reslab.runs.checkpoint import Checkpoints
from reslab.runs.folder import METRICS, RunFolder
from reslab.training.fit import FitResult
from reslab.training.observers import EndRecord, Observer, warn
from reslab.training.state import TrainingState
from reslab.wording import resume_command
from reslab.workbench.forecast import Ready
from reslab.workbench.recorder import Recorder

# Share of a limit of time by which a run may pass it without a word.
_BEYOND = 0.02


def summary(status: str, result: FitResult) -> dict[str, Any]:
    """What metrics.json tells of a training, whatever it comes to afterwards."""
    return {
        "status": status,
        "epochs": len(result.history),
        "steps": result.steps,
        "left_out_steps": result.left_out,
        "stopped_early": result.stopped_early,
        "cuts": [cut._asdict() for cut in result.cuts],
        "best_epoch": result.best_epoch,
        "train_seconds": result.seconds,
        "compile_seconds": result.compile_seconds,
        "images_per_second": result.images_per_second,
    }


def spent(ready: Ready, started: float, watching: Sequence[Observer]) -> dict[str, Any]:
    """What was foretold and what it took; a limit of time that was not kept is told."""
    now = time.perf_counter()
    told: dict[str, Any] = {
        "forecast": {"seconds": ready.forecast.seconds, "peak_bytes": ready.forecast.peak_bytes},
        "took": {"seconds": now - started, "peak_bytes": peak_bytes()},
    }
    limit = ready.prepared.run.training.time_limit
    if limit is not None and ready.ends_at is not None:
        beyond = now - ready.ends_at
        told["beyond_limit_seconds"] = max(0.0, beyond)
        if beyond > _BEYOND * limit:
            text = (
                f"the limit of time was exceeded by {beyond:.1f} s: steps, test or report were "
                "slower than in the rehearsal"
            )
            warn(watching, text)
    return told


@contextmanager
def word_of_failure(
    recorder: Recorder, state: TrainingState, checkpoints: Checkpoints
) -> Iterator[None]:
    """Leave word in the folder of what ended a training, where training itself did not."""
    folder = recorder.folder
    try:
        yield
    except BaseException as error:
        stopped = isinstance(error, KeyboardInterrupt | Interrupted)
        # A full disk may be the reason, and must not hide it.
        with suppress(UserError):
            own = {
                "epochs": len(recorder.history),
                "steps": state.step,
                "left_out_steps": state.left_out,
            }
            metrics = own | folder.read_metrics()
            if metrics.get("status") != "interrupted":
                status = "interrupted" if stopped else "failed"
                folder.write_json(METRICS, {**metrics, "status": status, "reason": str(error)})
            recorder.log(str(error) or type(error).__name__)
        go_on = f"go on with {resume_command(folder.path)}"
        if isinstance(error, KeyboardInterrupt):
            raise Interrupted(f"interrupted; {go_on}") from error
        if isinstance(error, StorageError):
            kept = checkpoints.newest_step()
            there = "no checkpoint was written yet" if kept is None else f"that of {kept} is kept"
            raise StorageError(
                f"{error.what} after step {state.step}",
                received=error.received,
                remedy=f"{there}; make room or allow writing there, then {go_on}",
            ) from error
        raise


@contextmanager
def end_told(
    observers: Sequence[Observer], folder: RunFolder, state: TrainingState
) -> Iterator[None]:
    """At the end of the context all observers are told of it, each of them once.

    An observer that fails at this does not keep the others from being told, and does not hide
    what ended the training: its error is only raised where there is no other.

    Args:
        observers: told in turn.
        folder: the run's, whose metrics.json is written by then.
        state: the training's.
    """
    try:
        yield
    except BaseException as error:
        stopped = isinstance(error, KeyboardInterrupt | Interrupted)
        record = EndRecord(
            status="interrupted" if stopped else "failed",
            reason=str(error) or type(error).__name__,
            step=state.step,
            metrics=_metrics(folder),
        )
        for other in _tell(observers, record):
            error.add_note(f"an observer failed as well: {other}")
        raise
    record = EndRecord(status="finished", reason="", step=state.step, metrics=_metrics(folder))
    errors = _tell(observers, record)
    for other in errors[1:]:
        errors[0].add_note(f"another observer failed as well: {other}")
    if errors:
        raise errors[0]


def _tell(observers: Sequence[Observer], record: EndRecord) -> list[BaseException]:
    errors: list[BaseException] = []
    for observer in observers:
        try:
            observer.on_end(record)
        except BaseException as error:  # noqa: BLE001 - told by whoever calls; Ctrl-C too
            errors.append(error)
    return errors


def _metrics(folder: RunFolder) -> Mapping[str, Any]:
    with suppress(UserError):
        return folder.read_metrics()
    return {}
