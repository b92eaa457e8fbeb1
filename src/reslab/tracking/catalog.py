"""The trackers that there are; a module is imported, with its packages, when it is asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING

from reslab.catalog.names import find
from reslab.errors import UserError

if TYPE_CHECKING:
    from reslab.tracking.tracker import Sink


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A tracker.

    Attributes:
        name: what --log takes.
        where: module and class of its sink.
        environment: variables that its packages read, set where the user has not set them.
    """

    name: str
    where: str
    environment: Mapping[str, str] = field(default_factory=dict)


# Neither MLflow nor W&B is to send its maker reports of use or errors unasked, and a server that
# is gone is to be given up in seconds, not in the many minutes of MLflow's defaults.
TRACKERS = (
    Entry(name="tensorboard", where="reslab.tracking.tensorboard:TensorBoard"),
    Entry(
        name="mlflow",
        where="reslab.tracking.mlflow:MLflow",
        environment={
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_LOGGING_LEVEL": "WARNING",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
        },
    ),
    Entry(
        name="wandb",
        where="reslab.tracking.wandb:WandB",
        environment={"WANDB_ERROR_REPORTING": "false"},
    ),
)


def find_tracker(name: str) -> Entry:
    """The entry of that name.

    Raises:
        UserError: where there is none, with the nearest name.
    """
    return find(TRACKERS, name, "tracker")


def load_sink(name: str) -> Sink:
    """The sink of the tracker of that name, whose packages are imported now.

    Raises:
        UserError: where there is none of that name, its packages are missing, or it cannot be
            used as things stand.
    """
    entry = find_tracker(name)
    for variable, value in entry.environment.items():
        os.environ.setdefault(variable, value)
    module, _, kind = entry.where.partition(":")
    try:
        sink: Sink = getattr(import_module(module), kind)()
    except ImportError as error:
        text = str(error)
        raise UserError(
            f"packages of the tracker {name} are missing",
            received=text[:1].lower() + text[1:],
            remedy="`pip install 'reslab[track]'` installs them",
        ) from error
    return sink
