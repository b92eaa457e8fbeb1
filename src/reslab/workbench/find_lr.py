"""A learning rate for a specification, found by a range test on its own data and net."""

from __future__ import annotations

from reslab.data.source import DataSource
from reslab.engine.runtime import Runtime
from reslab.spec.run import RunSpec
from reslab.training.find_lr import LrSweep, sweep_learning_rate
from reslab.training.fit import begin
from reslab.workbench.resolve import resolve, train_batches
from reslab.workbench.train import initial_model


def find_learning_rate(
    spec: RunSpec, *, data: DataSource | None = None, steps: int = 100
) -> tuple[LrSweep, float]:
    """Sweep the rate for the net as the seed gives it; nothing is written or trained.

    Args:
        spec: what to run; its rate and its schedule play no part.
        data: a data set of one's own.
        steps: of the sweep.

    Returns:
        The sweep, and the rate that the specification would be trained with as it is.

    Raises:
        UserError: where something that was asked for cannot be done, or the sweep is too short.
    """
    prepared = resolve(spec, data)
    run = prepared.run
    runtime = Runtime(**run.engine.model_dump())
    with runtime.active():
        model = initial_model(run, runtime)
        stepper = begin(
            model,
            train_batches(prepared),
            run.training,
            runtime,
            most_parts=prepared.need.most_parts,
        )
        return sweep_learning_rate(stepper, steps=steps), run.training.lr
