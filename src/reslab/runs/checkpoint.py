"""The state of a training on disk: written whole or not at all, verified, the last ones kept.

A checkpoint is one safetensors file. Its name holds the step and the digest of its content, so
that the rename that makes it visible also makes it complete, and so that any flipped bit shows.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from reslab.errors import UserError
from reslab.runs.files import cannot_write, write_atomically

# The entry of the file's metadata that holds what is no tensor.
_FACTS = "reslab-checkpoint"

# Of what a checkpoint holds; files of another format are told and not read.
FORMAT = 1

_NAME = re.compile(r"step-(\d{9,})-([0-9a-f]{32})\.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training between two steps.

    Attributes:
        step: optimiser steps made.
        tensors: by name, on the CPU.
        facts: the rest, as JSON takes it.
    """

    step: int
    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: where they lie; made by the first save.
        keep: how many are kept, the newest.
    """

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder = folder
        self._keep = keep

    def save(self, checkpoint: Checkpoint) -> int:
        """Write it, then delete those that are too many; returns the bytes written.

        Raises:
            UserError: where it cannot be written; those before are as they were.
        """
        facts = {"format": FORMAT, "step": checkpoint.step, **checkpoint.facts}
        content = safetensors.torch.save(
            {name: t.detach().cpu().contiguous() for name, t in checkpoint.tensors.items()},
            metadata={_FACTS: json.dumps(facts, sort_keys=True)},
        )
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise cannot_write(self.folder, error) from error
        name = f"step-{checkpoint.step:09}-{_digest(content)}.safetensors"
        write_atomically(self.folder / name, content)
        # After a fall back newer ones that were found damaged may lie here: of higher steps,
        # they would outlive the one just written.
        older = [path for path in self.paths() if path.name != name]
        good = [path for path in older if _step_of(path) <= checkpoint.step]
        self._remove(set(older) - set(good[: self._keep - 1]))
        return len(content)

    def load(self) -> tuple[Checkpoint | None, tuple[str, ...]]:
        """The newest that is whole, and a sentence for each newer one that is not.

        None where there is none at all.

        Raises:
            UserError: where there are some and none is whole.
        """
        damaged: list[str] = []
        for path in self.paths():
            try:
                return _read(path), tuple(damaged)
            except UserError as error:
                damaged.append(str(error))
        if damaged:
            raise UserError(
                f"no checkpoint in {self.folder} can be used",
                received=damaged[0],
                remedy=f"restore it from a copy, or delete {self.folder} to begin at step 0",
            )
        return None, ()

    def paths(self) -> list[Path]:
        """Their files, the newest first."""
        found = self.folder.iterdir() if self.folder.is_dir() else ()
        return sorted((p for p in found if _NAME.fullmatch(p.name)), key=_step_of, reverse=True)

    def keep_newest(self) -> None:
        """Delete all but the newest: the training has ended."""
        self._remove(self.paths()[1:])

    def _remove(self, paths: Iterable[Path]) -> None:
        for path in paths:
            # What cannot be deleted does no harm but to take room.
            with contextlib.suppress(OSError):
                path.unlink()


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _step_of(path: Path) -> int:
    found = _NAME.fullmatch(path.name)
    assert found is not None
    return int(found[1])


def _read(path: Path) -> Checkpoint:
    """One file, verified.

    Raises:
        UserError: where it is damaged or of another format.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"{path.name} cannot be read", received=(error.strerror or str(error)).lower()
        ) from error
    if not path.name.endswith(f"-{_digest(content)}.safetensors"):
        raise UserError(f"{path.name} is damaged", received="content that its name does not tell")
    try:
        tensors = safetensors.torch.load(content)
        facts = json.loads(_metadata(content)[_FACTS])
    except (SafetensorError, KeyError, ValueError) as error:
        raise UserError(f"{path.name} is no checkpoint", received=str(error)) from error
    if facts.get("format") != FORMAT:
        raise UserError(
            f"{path.name} has a format that this reslab does not know",
            expected=f"format {FORMAT}",
            received=repr(facts.get("format")),
        )
    return Checkpoint(facts["step"], tensors, facts)


def _metadata(content: bytes) -> dict[str, str]:
    """The header's, which safetensors gives of files only, not of bytes that were verified."""
    size = int.from_bytes(content[:8], "little")
    found: dict[str, str] = json.loads(content[8 : 8 + size])["__metadata__"]
    return found
