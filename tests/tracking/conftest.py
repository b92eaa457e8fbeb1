"""What the trackers' tests share: a training that ends in every way, and quiet libraries."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from torch import nn

import reslab
from reslab.errors import Interrupted
from reslab.runs.history import EpochRecord
from reslab.tracking.tracker import Tracker
from reslab.training.observers import EndRecord, NullObserver, StepRecord

SPEC = reslab.recipe(training={"epochs": 2, "batch_size": 4})  # 27 steps an epoch
LOOKS = [1, 10, 20, 27, 30, 40, 50, 54]  # steps that observers are told of


class At(NullObserver):
    """Does something at a step, and keeps what it is warned of."""

    def __init__(self, step: int, act: Callable[[], object]) -> None:
        self.step = step
        self.act = act
        self.warnings: list[str] = []

    def on_step(self, record: StepRecord) -> None:
        if record.step == self.step:
            self.act()

    def on_warning(self, text: str) -> None:
        self.warnings.append(text)


def ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


class Unended(NullObserver):
    """Hands all to a tracker but the end, as a process that is killed."""

    def __init__(self, tracker: Tracker) -> None:
        self.on_start = tracker.on_start  # type: ignore[method-assign]
        self.on_step = tracker.on_step  # type: ignore[method-assign]
        self._tracker = tracker

    def on_epoch(self, record: EpochRecord, model: nn.Module, is_best: bool) -> None:
        self._tracker.on_epoch(record, model, is_best)

    def on_end(self, record: EndRecord) -> None:
        pass


def train_until_killed(source: reslab.ArraySource, out: Path, tracker: Tracker) -> None:
    """As a training that was killed after step 40, with a checkpoint of step 27."""
    observers = [Unended(tracker), At(40, ctrl_c)]
    with pytest.raises(Interrupted):
        reslab.train(SPEC, data=source, out=out, observers=observers)
    newest = max((out / "checkpoint").iterdir())
    assert newest.name.startswith("step-000000040")
    newest.unlink()
    (out / "metrics.json").unlink()


@pytest.fixture(scope="session")
def _store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow store without runs, which takes seconds to make."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    from mlflow import MlflowClient  # noqa: PLC0415 - only where it is used

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def mlflow_store(_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI of the store beside runs in ``tmp_path``."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return f"sqlite:///{shutil.copy(_store, tmp_path / 'mlflow.db')}"


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """W&B without its server."""
    for name in ("WANDB_PROJECT", "WANDB_NAME", "WANDB_DIR", "WANDB_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    import wandb  # noqa: PLC0415 - only where it is used

    wandb.teardown()
    yield
    wandb.teardown()
