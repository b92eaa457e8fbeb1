"""Weights & Biases: told where by its own environment variables; files in the run's folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb

from reslab.errors import UserError
from reslab.spec.text import flatten
from reslab.tracking.values import Values
from reslab.training.observers import EndRecord, StartRecord

PROJECT = "reslab"

# W&B calls a run of 255 killed, as it does after Ctrl-C in a script of one's own.
_EXIT_CODES = {"finished": 0, "interrupted": 255, "failed": 1}


class WandB:
    """A run of the project that WANDB_PROJECT names.

    Raises:
        UserError: where there is neither a login nor a mode that needs none; nobody is asked
            for one in mid-work.
    """

    def __init__(self) -> None:
        needs_login = wandb.setup().settings.mode not in ("offline", "dryrun", "disabled")
        if needs_login and not wandb.login(prompt=False, verify=False):
            raise UserError(
                "Weights & Biases has no login on this machine",
                remedy="run `wandb login`, or set WANDB_MODE=offline to log into files alone",
            )

    def begin(self, record: StartRecord, known_as: str | None) -> tuple[str | None, bool]:
        """Begin a run, or go on with the one of that id; settings become its config."""
        folder = record.folder.absolute()
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=os.environ.get("WANDB_NAME", folder.name),
            id=known_as or os.environ.get("WANDB_RUN_ID"),
            resume="allow",
            dir=os.environ.get("WANDB_DIR", folder),
            config=flatten(record.settings),
            # One of the user's own may be under way in the same process.
            reinit="create_new",
            settings=wandb.Settings(console="off"),
        )
        self._first_step = self._run.starting_step
        summary: Any = self._run.summary
        self._last_epoch = summary.get("epoch", 0) if self._first_step else 0
        return self._run.id, known_as is None

    def write(self, values: Values, step: int) -> None:
        """Write a row, or to the row of the same step.

        W&B keeps rows in order: those that a killed training makes once more, with the same
        results, are passed over. An epoch whose validation was interrupted has its step
        written, not its result, and gets the next step.
        """
        if step < self._first_step:
            if values.get("epoch", 0) <= self._last_epoch:
                return
            step = self._first_step
        self._run.log(values, step=step)

    def end(self, record: EndRecord, values: Values, images: Mapping[str, Path]) -> None:
        """Write what is left; finals become the summary."""
        if images:
            pictures = {name: wandb.Image(str(path)) for name, path in images.items()}
            self._run.log(pictures, step=max(record.step, self._first_step))
        self._run.summary.update({**values, "status": record.status, "reason": record.reason})
        self._run.finish(exit_code=_EXIT_CODES[record.status])
