"""What a run's folder tells without its net: nothing here needs torch, which takes a second."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from reslab.errors import UserError
from reslab.runs.files import is_locked
from reslab.runs.folder import HISTORY, SPEC, RunFolder
from reslab.runs.history import EpochRecord, parse_history
from reslab.spec.resolved import ResolvedRun, upgrade
from reslab.spec.text import build, parse_document

# What a training leaves word of before it ends.
_ENDED = ("finished", "interrupted", "failed")


class StoredRun:
    """A run, opened from its folder.

    Args:
        folder: the run's folder; see ``open_run`` to open one by its path.
        spec: what was trained, complete.

    Attributes:
        folder: where everything is stored.
        spec: what was trained, complete.
    """

    def __init__(self, folder: RunFolder, spec: ResolvedRun) -> None:
        self.folder = folder
        self.spec = spec

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self.folder.path

    @property
    def metrics(self) -> dict[str, Any]:
        """What metrics.json holds; empty where the run has not ended."""
        return self.folder.read_metrics()

    @property
    def history(self) -> tuple[EpochRecord, ...]:
        """One record for each finished epoch."""
        return parse_history(self.folder.read_text(HISTORY))

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the net's outputs."""
        return self.spec.facts.classes

    @property
    def own_split(self) -> Literal["test", "fold"]:
        """What scores it in the end: the fold that was held out, or else the test split."""
        return "test" if self.spec.data.fold is None else "fold"

    @property
    def status(self) -> str:
        """``finished``, ``interrupted``, ``failed``, ``running``, or else ``killed``.

        Killed is a run that ended without a word; it can be resumed, as all but those that have
        finished. Where folders cannot be locked a run that is running seems killed.
        """
        told = self.metrics.get("status")
        if told in _ENDED:
            return str(told)
        return "running" if is_locked(self.path) else "killed"


def open_run(path: str | Path) -> StoredRun:
    """Open the folder of a run, wherever it was moved to.

    Raises:
        UserError: where there is no run, or one of a newer format.
    """
    folder = RunFolder.open(Path(path))
    origin = str(folder.path / SPEC)
    document = upgrade(parse_document(folder.read_text(SPEC), origin), origin)
    return StoredRun(folder, build(ResolvedRun, document, origin))


def has_finished(run: StoredRun) -> bool:
    """Whether nothing is left to do; a run whose metrics are damaged gets new ones."""
    with suppress(UserError):
        return run.metrics.get("status") == "finished"
    return False
