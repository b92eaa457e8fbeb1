import dataclasses
import inspect
from pathlib import Path

import pytest
from torch import nn

from reslab.runs.history import EpochRecord
from reslab.training.observers import (
    EndRecord,
    Forecast,
    NullObserver,
    Observer,
    StartRecord,
    StepRecord,
    clock,
    describe_forecast,
)

STEP = StepRecord(
    epoch=1,
    epochs=2,
    step=1,
    is_limited=False,
    total_steps=8,
    loss=0.5,
    learning_rate=0.1,
    images_per_second=10.0,
    seconds_left=1.0,
)
FORECAST = Forecast(epochs=2.0, asked_epochs=2.0, steps=8, seconds=3600.0, peak_bytes=None)
EPOCH = EpochRecord(
    epoch=1,
    step=4,
    learning_rate=0.1,
    train_loss=0.5,
    train_accuracy=0.5,
    val_loss=None,
    val_accuracy=None,
    seconds=1.0,
    images_per_second=10.0,
)
START = StartRecord(folder=Path("run"), settings={}, step=0, history=(), warn=print)
END = EndRecord(status="failed", reason="as planned", step=8, metrics={})


def test_the_null_observer_takes_every_event_and_says_nothing(capsys):
    observer = NullObserver()
    assert observer.on_start(START) is None
    assert observer.on_forecast(FORECAST) is None
    assert observer.on_warning("text") is None
    assert observer.on_step(STEP) is None
    assert observer.on_epoch(EPOCH, nn.Identity(), True) is None
    assert observer.on_end(END) is None
    assert capsys.readouterr() == ("", "")


def test_the_null_observer_has_every_method_of_an_observer():
    methods = {name for name in vars(Observer) if name.startswith("on_")}
    events = ("start", "forecast", "warning", "step", "epoch", "end")
    assert methods == {f"on_{event}" for event in events}
    for name in methods:
        wanted, found = (
            inspect.signature(getattr(kind, name)) for kind in (Observer, NullObserver)
        )
        assert list(wanted.parameters) == list(found.parameters)


def test_an_observer_may_care_for_one_event_only():
    class Losses(NullObserver):
        def __init__(self):
            self.seen = []

        def on_step(self, record):
            self.seen.append(record.loss)

    observer = Losses()
    observer.on_step(STEP)
    observer.on_epoch(EPOCH, nn.Identity(), False)
    assert observer.seen == [0.5]


def test_a_record_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        STEP.loss = 0.0


def test_a_forecast_in_words():
    assert describe_forecast(FORECAST) == "forecast: 2 epochs, 8 steps, in about 1:00:00"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (61, "1:01"), (3600, "1:00:00")]
)
def test_clock(seconds, text):
    assert clock(seconds) == text
