"""MLflow: the server or store that MLFLOW_TRACKING_URI names, or a SQLite file beside the runs."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException

from reslab.errors import UserError
from reslab.tracking.values import Values, settings_as_text
from reslab.training.observers import EndRecord, StartRecord

STORE = "mlflow.db"
ARTIFACTS = "mlartifacts"

_STATUS = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
# Limits of MLflow.
_MOST_PARAMS = 100
_MOST_LETTERS = 6000


class MLflow:
    """A run of the experiment that is called as the data set.

    Raises:
        UserError: where MLFLOW_TRACKING_URI names what cannot be used.
        ImportError: where the packages for a SQLite store are missing.
    """

    def __init__(self) -> None:
        self._uri = os.environ.get("MLFLOW_TRACKING_URI", "")
        if self._uri:
            self._client = _checked(self._uri)
        else:
            for package in ("sqlalchemy", "alembic"):
                import_module(package)

    def begin(self, record: StartRecord, known_as: str | None) -> tuple[str | None, bool]:
        """Go on with the run of that id, or create one; settings become params."""
        folder = record.folder.absolute()
        artifacts = None
        if not self._uri:
            self._client = MlflowClient(f"sqlite:///{folder.parent / STORE}")
            artifacts = (folder.parent / ARTIFACTS).as_uri()
        self._told: dict[str, int] = {}
        found = None
        if known_as is not None:
            # It may have been deleted, or have stayed with another machine's store.
            with suppress(MlflowException):
                found = self._client.get_run(known_as)
        if found is None:
            experiment = _experiment(self._client, record.settings["data"]["name"], artifacts)
            run = self._client.create_run(experiment, run_name=folder.name)
        else:
            run = found
            self._client.update_run(run.info.run_id, status="RUNNING")
        self._id: str = run.info.run_id
        params = [
            Param(name, value[:_MOST_LETTERS])
            for name, value in settings_as_text(record.settings).items()
            if name not in run.data.params
        ]
        for first in range(0, len(params), _MOST_PARAMS):
            self._client.log_batch(self._id, params=params[first : first + _MOST_PARAMS])
        return self._id, found is None

    def write(self, values: Values, step: int) -> None:
        """Write metrics, but for steps that are in the store already.

        A killed training makes the steps after its checkpoint once more, with the same results;
        MLflow would keep both.
        """
        now = round(1000 * time.time())
        new = {name: value for name, value in values.items() if step > self._last(name)}
        if new:
            metrics = [Metric(name, value, now, step) for name, value in new.items()]
            self._client.log_batch(self._id, metrics=metrics)
        self._told |= dict.fromkeys(new, step)

    def end(self, record: EndRecord, values: Values, images: Mapping[str, Path]) -> None:
        """Write what is left; the reason of an end becomes a tag."""
        self.write(values, record.step)
        for path in images.values():
            self._client.log_artifact(self._id, str(path))
        if record.reason:
            self._client.set_tag(self._id, "reason", record.reason)
        else:
            with suppress(MlflowException):
                self._client.delete_tag(self._id, "reason")
        self._client.set_terminated(self._id, _STATUS[record.status])

    def _last(self, name: str) -> int:
        """The last step at which a metric was written, by a process before this one too."""
        if name not in self._told:
            history = self._client.get_metric_history(self._id, name)
            self._told[name] = max((metric.step for metric in history), default=-1)
        return self._told[name]


def _checked(uri: str) -> MlflowClient:
    try:
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"the MLflow store {uri} cannot be used",
            received=reason[:200],
            remedy="set MLFLOW_TRACKING_URI to another, or unset it for a file beside the run",
        ) from error
    return client


def _experiment(client: MlflowClient, name: str, artifacts: str | None) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        # Another training may be a moment faster.
        with suppress(MlflowException):
            return str(client.create_experiment(name, artifact_location=artifacts))
        found = client.get_experiment_by_name(name)
    if found is None or found.lifecycle_stage != "active":
        raise MlflowException(f"the experiment {name} was deleted; restore it or rename the data")
    return str(found.experiment_id)
