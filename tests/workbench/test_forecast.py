"""What is foretold, and that foretelling leaves no trace."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import reslab
from reslab.engine.load import Load
from reslab.engine.memory import peak_bytes
from reslab.engine.need import LIBRARIES
from reslab.engine.runtime import Runtime
from reslab.training.fit import begin
from reslab.training.observers import Forecast, NullObserver
from reslab.training.stepper import Stepper
from reslab.workbench.forecast import forecast, make_ready
from reslab.workbench.resolve import Prepared, resolve, train_batches
from reslab.workbench.train import initial_model


def start(source: reslab.ArraySource, **training: object) -> tuple[Stepper, Prepared]:
    prepared = resolve(reslab.recipe(training={"epochs": 2, "batch_size": 20, **training}), source)
    runtime = Runtime(**prepared.run.engine.model_dump())
    model = initial_model(prepared.run, runtime)
    return begin(model, train_batches(prepared), prepared.run.training, runtime), prepared


def test_without_a_limit_the_plan_is_foretold(tiny_source: reslab.ArraySource) -> None:
    stepper, prepared = start(tiny_source)
    told, budget = forecast(stepper, prepared)
    assert (told.epochs, told.steps, budget) == (2.0, prepared.run.total_steps, None)
    assert told.seconds > told.steps * 1e-4
    assert told.peak_bytes is not None
    assert 2**26 < told.peak_bytes <= (peak_bytes() or 0) + LIBRARIES


def test_a_limit_shortens_the_plan(tiny_source: reslab.ArraySource) -> None:
    stepper, prepared = start(tiny_source, epochs=100_000)
    told, budget = forecast(stepper, prepared, ends_at=time.perf_counter() + 8.0)
    assert budget is not None
    assert budget.ends_at < time.perf_counter() + 8.0
    assert 0 < told.steps < prepared.run.total_steps
    assert told.seconds < 9.0


def test_a_limit_shorter_than_an_epoch_is_warned_about(
    tiny_source: reslab.ArraySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = reslab.recipe(training={"epochs": 2, "batch_size": 4, "time_limit": 1000})
    prepared = resolve(spec, tiny_source)
    steps = prepared.run.facts.steps_per_epoch
    # As if half of an epoch's steps would take the whole time.
    monkeypatch.setattr("reslab.workbench.forecast.rehearse", lambda stepper: 2000 / steps)
    runtime = Runtime(**prepared.run.engine.model_dump())
    with runtime.active():
        model = initial_model(prepared.run, runtime)
        ready = make_ready(prepared, model, runtime, ends_at=time.perf_counter() + 1000)
    assert 0 < ready.forecast.steps < steps
    assert any(f"of the {steps} steps of an epoch" in text for text in ready.warnings)


def test_a_crowd_is_told(tiny_source: reslab.ArraySource, monkeypatch: pytest.MonkeyPatch) -> None:
    class Crowded(Load):
        def others(self) -> float:
            return float(self.cpus)

    monkeypatch.setattr("reslab.workbench.forecast.Load", Crowded)
    prepared = resolve(reslab.recipe(training={"epochs": 2, "batch_size": 20}), tiny_source)
    runtime = Runtime(**prepared.run.engine.model_dump())
    with runtime.active():
        ready = make_ready(prepared, initial_model(prepared.run, runtime), runtime)
    (told,) = ready.warnings
    assert "CPUs busy" in told
    assert "the forecast is uncertain" in told


def test_observers_are_told_before_the_first_step(
    tiny_source: reslab.ArraySource, tmp_path: Path
) -> None:
    class Watch(NullObserver):
        def __init__(self) -> None:
            self.told: list[object] = []

        def on_forecast(self, forecast: Forecast) -> None:
            self.told.append(forecast)

        def on_step(self, record: object) -> None:
            self.told.append(record)

    watch = Watch()
    spec = reslab.recipe(training={"epochs": 2, "batch_size": 20})
    run = reslab.train(spec, data=tiny_source, out=tmp_path / "run", observers=[watch])
    first = watch.told[0]
    assert isinstance(first, Forecast)
    assert not any(isinstance(other, Forecast) for other in watch.told[1:])
    assert run.metrics["forecast"]["seconds"] == first.seconds
    assert run.metrics["took"]["seconds"] > 0
    assert "forecast: 2 epochs, 10 steps" in (run.path / "log.txt").read_text()
