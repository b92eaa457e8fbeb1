"""A run's folder: where each file lies, and how it is written so that none is ever half there."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from reslab.errors import UserError

SPEC = "run.yaml"
ENVIRONMENT = "environment.json"
HISTORY = "history.csv"
METRICS = "metrics.json"
LOG = "log.txt"
CURVES = "curves.png"
CONFUSION = "confusion.png"
MISTAKES = "mistakes.png"
MISTAKES_DATA = "mistakes.npz"
REPORT = "report.html"


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: to a temporary name beside it, then renamed.

    Raises:
        UserError: where the folder cannot be written to.
    """
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise _cannot_write(path, error) from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files that only their owner can read, which is not for it to decide.
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _cannot_write(path, error) from error
        raise


def _cannot_write(path: Path, error: OSError) -> UserError:
    return UserError(
        f"{path} cannot be written",
        received=(error.strerror or str(error)).lower(),
        remedy="choose a folder that you may write to, with space left",
    )


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run, which exists."""

    path: Path

    @classmethod
    def create(cls, path: Path) -> RunFolder:
        """Make the folder, parents included; an empty one is taken as it is.

        Raises:
            UserError: where it holds something already or cannot be made.
        """
        check_free(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            (path / "weights").mkdir()
        except OSError as error:
            raise _cannot_write(path, error) from error
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """The folder of a run that was made before.

        Raises:
            UserError: where there is no such folder or it holds no run.
        """
        if not path.exists():
            raise UserError(
                f"there is no run {path}", remedy="`reslab runs` lists those that there are"
            )
        if not (path / SPEC).is_file():
            raise UserError(
                f"{path} is not a run",
                expected=f"a folder with {SPEC} in it",
                received="a file" if path.is_file() else f"a folder without {SPEC}",
                remedy="`reslab runs` lists the runs that there are",
            )
        return cls(path)

    def weights(self, use: str) -> Path:
        """Where the ``best`` or the ``last`` weights lie."""
        return self.path / "weights" / f"{use}.safetensors"

    def write_text(self, name: str, text: str) -> None:
        """Write a file of the folder, whole or not at all."""
        write_atomically(self.path / name, text.encode())

    def write_json(self, name: str, document: Mapping[str, Any]) -> None:
        """Write a JSON document, whole or not at all."""
        self.write_text(name, json.dumps(document, indent=2, allow_nan=False) + "\n")

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
                remedy="restore the run from a copy or train it again",
            )
        return document

    def read_metrics(self) -> dict[str, Any]:
        """What metrics.json holds; empty while the run has not ended."""
        return self.read_json(METRICS) if (self.path / METRICS).exists() else {}


def check_free(path: Path) -> None:
    """Refuse a folder for a new run that holds something, before any work is done for it.

    Raises:
        UserError: where it is a file, is not empty, or cannot be made.
    """
    if "\0" in str(path):
        raise UserError(f"{str(path)!r} is no path", remedy="leave the null byte out")
    try:
        if path.is_dir() and any(path.iterdir()):
            raise UserError(
                f"{path} is not empty",
                expected="a folder that is new or empty",
                remedy="choose another --out",
            )
        if path.exists() and not path.is_dir():
            raise UserError(f"{path} is a file", expected="a folder", remedy="choose another --out")
        parent = next(p for p in (path, *path.absolute().parents) if p.exists())
    except OSError as error:
        raise _cannot_write(path, error) from error
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        reason = "not permitted" if parent.is_dir() else f"{parent} is a file"
        raise UserError(f"{path} cannot be made", received=reason, remedy="choose another --out")


def new_path(parent: Path, data: str, model: str, now: datetime) -> Path:
    """A name for a run that is not taken: data, net and time, then -2, -3 and so on."""
    stem = f"{data}-{model}-{now:%Y%m%d-%H%M%S}"
    path, count = parent / stem, 1
    while path.exists():
        count += 1
        path = parent / f"{stem}-{count}"
    return path
