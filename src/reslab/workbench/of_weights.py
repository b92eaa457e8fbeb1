"""Records in a run's folder that hold for certain weights alone: how they are read and doubted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from reslab.errors import UserError
from reslab.runs.folder import RunFolder
from reslab.wording import quoted

Record = TypeVar("Record")


def read_record(
    folder: RunFolder,
    name: str,
    parse: Callable[[Mapping[str, Any]], Record],
    *,
    command: str,
    version: int,
) -> Record | None:
    """What a file of the folder holds, of whatever weights; None where there is none.

    Args:
        folder: the run's.
        name: the file's.
        parse: makes the record of its content, or fails where that is not one.
        command: of reslab's, that writes the file.
        version: the ``format`` that it can read.

    Raises:
        UserError: where it is damaged or of a newer format.
    """
    path = folder.path / name
    remedy = f"`reslab {command} {quoted(folder.path)}` writes it anew, or delete it"
    if not path.exists():
        return None
    try:
        document = folder.read_json(name)
    except UserError as error:
        raise UserError(error.what, received=error.received, remedy=remedy) from error
    if document.get("format") != version:
        raise UserError(
            f"{path} cannot be read",
            expected=f"format {version}",
            received=f"format {document.get('format')!r}",
            remedy=remedy,
        )
    try:
        return parse(document)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise UserError(
            f"{path} is damaged", expected=f"what `reslab {command}` writes", remedy=remedy
        ) from error


def why_other(folder: RunFolder, use: str, *, weights: str, digest: str) -> str:
    """Why a record is not of the weights as they are now, as the rest of a sentence; else empty.

    Weights are known by the digest of their file, so that a training which went on, or a file
    that was replaced, is noticed; best and last weights that are the same share one record.

    Args:
        folder: the run's.
        use: the weights in question.
        weights: those that the record was made for.
        digest: of these as they were then.
    """
    if digest == digest_weights(folder.weights(use)):
        return ""
    if weights != use:
        return f"is of the {weights} weights and not of the {use} ones"
    return f"is left out of account, since the {use} weights have changed after it"


def digest_weights(path: Path) -> str:
    """SHA-256 of a file of weights; empty where it cannot be read, which loading it will tell."""
    with suppress(OSError), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
    return ""
