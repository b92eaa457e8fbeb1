"""A run's folder: where each file lies, and how it is written so that none is ever half there."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reslab.errors import UserError
from reslab.runs.files import append_line, remove_leftovers
from reslab.runs.new_folder import begin_folder, new_folder
from reslab.wording import resume_command
from reslab.writing import cannot_write, write_atomically

SPEC = "run.yaml"
ENVIRONMENT = "environment.json"
HISTORY = "history.csv"
METRICS = "metrics.json"
LOG = "log.txt"
OPENINGS = "openings.jsonl"
CURVES = "curves.png"
CONFUSION = "confusion.png"
MISTAKES = "mistakes.png"
MISTAKES_DATA = "mistakes.npz"
REPORT = "report.html"
CALIBRATION = "calibration.json"
CONFIDENCE = "confidence.png"
TRACKING = "tracking.json"
# Of a run with groups, their numbers as they were read; of one whose head sees some features
# only, which; of a cross-validation, what was asked for.
GROUPS = "groups.txt"
# Of one on pictures of one's own: those that could not be decoded, with the reasons, those that
# were to be left out, and those that were drawn for the test.
LEFT_OUT = "left_out.txt"
EXCLUDED = "excluded.txt"
TESTED = "tested.txt"
FEATURES = "features.json"
FOLDS = "folds.yaml"


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run, which exists."""

    path: Path

    @classmethod
    def create(cls, path: Path, spec: str) -> RunFolder:
        """Make the folder, parents included; an empty one is taken as it is.

        The specification is written first: whatever else is missing of a process that was
        killed, what lies there is either nothing or a run that can be resumed.

        Args:
            path: where.
            spec: the text of run.yaml.

        Raises:
            UserError: where it holds something already or cannot be made.
        """
        folder = cls(path)
        begin_folder(path, SPEC, spec, complete=folder.complete)
        return folder

    @classmethod
    def create_new(cls, parent: Path, name: str, spec: str) -> RunFolder:
        """Make a folder of that name, or with -2, -3 and so on where it is taken.

        Raises:
            UserError: where it cannot be made.
        """
        return cls.create(new_folder(parent, name), spec)

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """The folder of a run that was made before.

        Raises:
            UserError: where there is no such folder or it holds no run.
        """
        try:
            there, whole = path.exists(), (path / SPEC).is_file()
        except OSError as error:
            raise UserError(
                f"{path} is not a run",
                received=(error.strerror or str(error)).lower(),
                remedy="`reslab runs` lists the runs that there are",
            ) from error
        if not there:
            raise UserError(
                f"there is no run {path}", remedy="`reslab runs` lists those that there are"
            )
        if not whole and (path / FOLDS).is_file():
            raise UserError(
                f"{path} is a cross-validation, not a run",
                remedy=f"give one of its runs, such as {path / 'final'}",
            )
        if not whole:
            raise UserError(
                f"{path} is not a run",
                expected=f"a folder with {SPEC} in it",
                received="a file" if path.is_file() else f"a folder without {SPEC}",
                remedy="`reslab runs` lists the runs that there are",
            )
        return cls(path)

    def complete(self) -> None:
        """Make the folders within that are missing, and remove what was left half written.

        Raises:
            UserError: where they cannot be made.
        """
        for place in (self.path / "weights", self.checkpoints):
            try:
                place.mkdir(exist_ok=True)
                remove_leftovers(place)
            except OSError as error:
                raise cannot_write(place, error) from error
        remove_leftovers(self.path)

    @property
    def checkpoints(self) -> Path:
        """Where the state of a training that has not ended lies."""
        return self.path / "checkpoint"

    def weights(self, use: str) -> Path:
        """Where the ``best`` or the ``last`` weights lie."""
        return self.path / "weights" / f"{use}.safetensors"

    def remove(self, name: str) -> None:
        """Delete a file of the folder, if it is there.

        Raises:
            UserError: where it cannot be deleted.
        """
        try:
            (self.path / name).unlink(missing_ok=True)
        except OSError as error:
            raise cannot_write(self.path / name, error) from error

    def has(self, name: str) -> bool:
        """Whether there is a file of that name."""
        return (self.path / name).is_file()

    def write_text(self, name: str, text: str) -> None:
        """Write a file of the folder, whole or not at all."""
        write_atomically(self.path / name, text.encode())

    def write_json(self, name: str, document: Mapping[str, Any]) -> None:
        """Write a JSON document, whole or not at all."""
        self.write_text(name, json.dumps(document, indent=2, allow_nan=False) + "\n")

    def append_line(self, name: str, line: str) -> None:
        """Add a line to a file of the folder, in one write.

        Raises:
            UserError: where it cannot be written.
        """
        append_line(self.path / name, line)

    def read_text(self, name: str) -> str:
        """Read a file of the folder.

        Raises:
            UserError: where it is missing or unreadable.
        """
        try:
            return (self.path / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise UserError(
                f"{self.path / name} cannot be read",
                received=str(reason).lower(),
                remedy="restore the run from a copy or train it again",
            ) from error

    def read_json(self, name: str) -> dict[str, Any]:
        """Read a JSON object.

        Raises:
            UserError: where it is missing or damaged.
        """
        try:
            document = json.loads(self.read_text(name))
        except json.JSONDecodeError as error:
            document = error
        if not isinstance(document, dict):
            raise UserError(
                f"{self.path / name} is damaged",
                expected="a JSON object",
                remedy="restore it from a copy"
                + (
                    f", or make it anew with {resume_command(self.path)}" if name == METRICS else ""
                ),
            )
        return document

    def read_metrics(self) -> dict[str, Any]:
        """What metrics.json holds; empty while the run has not ended.

        Raises:
            UserError: where it is damaged.
        """
        metrics = self.read_json(METRICS) if (self.path / METRICS).exists() else {}
        scores = [metrics.get(split, {}) for split in ("test", "fold")]
        if not all(
            isinstance(s, dict) and all(isinstance(m, dict) for m in s.values()) for s in scores
        ):
            raise UserError(
                f"{self.path / METRICS} is damaged",
                expected="metrics for each set of weights",
                remedy=f"restore it from a copy, or make it anew with {resume_command(self.path)}",
            )
        return metrics

    def read_openings(self) -> list[dict[str, Any]]:
        """Each opening of the test split, in order; one that cannot be read counts all the same."""
        if not (self.path / OPENINGS).exists():
            return []
        return [_opening_in(line) for line in self.read_text(OPENINGS).splitlines()]


def _opening_in(line: str) -> dict[str, Any]:
    with contextlib.suppress(json.JSONDecodeError):
        found = json.loads(line)
        if isinstance(found, dict):
            return found
    # A loss of power may cut a line short, which does not undo the opening.
    return {"by": "unknown", "line": line}
