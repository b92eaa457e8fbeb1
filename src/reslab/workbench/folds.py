"""What the folder of a cross-validation tells, without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reslab.errors import UserError
from reslab.runs.files import is_locked
from reslab.runs.folder import FOLDS
from reslab.spec.run import RunSpec
from reslab.spec.text import build, parse_document
from reslab.wording import resume_command
from reslab.workbench.stored import StoredRun, open_run

# What came out, and the run that is trained without folds.
SUMMARY, FINAL = "summary.json", "final"

FORMAT = 1


@dataclass(frozen=True)
class CrossValidation:
    """A cross-validation, opened from its folder.

    Attributes:
        path: the folder.
        spec: what was asked for; ``data.folds`` tells how many there are.
        source: name and fingerprint of the images that it was begun with.
    """

    path: Path
    spec: RunSpec
    source: Mapping[str, str]

    @property
    def folds(self) -> tuple[StoredRun, ...]:
        """The run of each fold, in their order."""
        count = self.spec.data.folds or 0
        return tuple(open_run(self.path / f"fold-{fold}") for fold in range(1, count + 1))

    @property
    def final(self) -> StoredRun:
        """The run that was trained without folds and tested."""
        return open_run(self.path / FINAL)

    @property
    def has_ended(self) -> bool:
        """Whether all of it was trained and summed up."""
        return (self.path / SUMMARY).is_file()

    @property
    def status(self) -> str:
        """``finished``, ``running``, or else ``unfinished``; see ``StoredRun.status``."""
        if self.has_ended:
            return "finished"
        return "running" if is_locked(self.path) else "unfinished"

    @property
    def summary(self) -> dict[str, Any]:
        """Scores of all folds, their mean and standard deviation, and the final test.

        Raises:
            UserError: where it has not ended, or the summary is damaged.
        """
        try:
            document = json.loads((self.path / SUMMARY).read_text(encoding="utf-8"))
            for score in document["scores"]:
                _ = score["top1"], score["n"], score["train_images"]
        except OSError as error:
            raise UserError(
                f"{self.path} has not ended", remedy=f"go on with {resume_command(self.path)}"
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{self.path / SUMMARY} is damaged",
                expected="the scores of each fold",
                remedy=f"it is written anew by {resume_command(self.path)}",
            ) from error
        return dict(document)


def is_cross_validation(path: str | Path) -> bool:
    """Whether a folder holds one."""
    try:
        return (Path(path) / FOLDS).is_file()
    except OSError:
        return False


def open_folds(path: str | Path) -> CrossValidation:
    """Open the folder of a cross-validation.

    Raises:
        UserError: where there is none, or one of a newer format.
    """
    path = Path(path)
    if not is_cross_validation(path):
        raise UserError(
            f"{path} is no cross-validation",
            expected=f"a folder with {FOLDS} in it",
            received="a run" if (path / "run.yaml").is_file() else "",
            remedy="`reslab train --folds 5` makes one, also with the --config of a run",
        )
    origin = str(path / FOLDS)
    try:
        document = parse_document((path / FOLDS).read_text(encoding="utf-8"), origin)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{origin} cannot be read", received=str(error).lower()) from error
    found = document.pop("format", None)
    if found != FORMAT:
        raise UserError(
            f"{origin} has a format that this reslab does not know",
            expected=f"format {FORMAT}",
            received=repr(found),
            remedy="install the reslab that wrote it",
        )
    source = document.pop("source", None)
    if not isinstance(source, dict) or not {"name", "fingerprint"} <= set(source):
        raise UserError(f"{origin} is damaged", expected="the source of its images")
    return CrossValidation(path, build(RunSpec, document, origin), source)
