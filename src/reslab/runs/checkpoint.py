"""The state of a training on disk: written whole or not at all, verified, the last ones kept.

A checkpoint is one safetensors file. Its name holds the step and the digest of its content, so
that the rename that makes it visible also makes it complete, and so that any flipped bit shows.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from reslab.errors import UserError
from reslab.writing import cannot_write, write_parts

# The entry of the file's metadata that holds what is no tensor.
_FACTS = "reslab-checkpoint"

# Of what a checkpoint holds; files of another format are told and not read.
FORMAT = 2

# The format's names of what a net or an optimiser may hold.
_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}

_NAME = re.compile(r"step-(\d{9,})-([0-9a-f]{32})\.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training between two steps.

    Attributes:
        step: optimiser steps made.
        tensors: by name; on the CPU where it was loaded.
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
        self._damaged: set[Path] = set()

    def save(self, checkpoint: Checkpoint) -> None:
        """Write it, then delete those that are too many.

        Raises:
            UserError: where it cannot be written; those before are as they were.
        """
        facts = {"format": FORMAT, "step": checkpoint.step, **checkpoint.facts}
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise cannot_write(self.folder, error) from error
        digest = _new_digest()

        def parts() -> Iterator[memoryview]:
            for part in _serialise(checkpoint.tensors, facts):
                digest.update(part)
                yield part

        stem = self.folder / f"step-{checkpoint.step:09}"

        def name() -> str:
            return f"{stem.name}-{digest.hexdigest()}.safetensors"

        write_parts(stem, parts(), name)
        # What was found damaged, and a later state that was fallen back from, would outlive
        # the one just written.
        others = [path for path in self.paths() if path.name != name()]
        good = [p for p in others if p not in self._damaged and _step_of(p) < checkpoint.step]
        self._remove(set(others) - set(good[: self._keep - 1]))

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
                self._damaged.add(path)
        if damaged:
            raise UserError(
                f"no checkpoint in {self.folder} can be used",
                received="; ".join(damaged),
                remedy=f"restore it from a copy, or delete {self.folder} to begin at step 0",
            )
        return None, ()

    def paths(self) -> list[Path]:
        """Their files, the newest first."""
        aged = []
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            if _NAME.fullmatch(path.name):
                # A training that is still going on may remove it after it was listed.
                with contextlib.suppress(FileNotFoundError):
                    # Two of one step are there where an epoch's end was saved before and after
                    # it was recorded, and the process was killed before it removed the first.
                    aged.append((_step_of(path), path.stat().st_mtime_ns, path))
        return [path for *_, path in sorted(aged, reverse=True)]

    def newest_step(self) -> int | None:
        """The step of the newest, whole or not; None where there is none."""
        return max(map(_step_of, self.paths()), default=None)

    def keep_newest(self) -> None:
        """Delete all but the newest: the training has ended."""
        self._remove(self.paths()[1:])

    def _remove(self, paths: Iterable[Path]) -> None:
        for path in paths:
            # What cannot be deleted does no harm but to take room.
            with contextlib.suppress(OSError):
                path.unlink()


def _new_digest() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=16)


def _serialise(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Iterator[memoryview]:
    """A safetensors file in parts, so that no second copy of all tensors is ever in memory.

    The library's own ``save`` makes two. The format: the header's length in 8 bytes, the
    header in JSON, the tensors' bytes.
    """
    header: dict[str, Any] = {"__metadata__": {_FACTS: json.dumps(facts, sort_keys=True)}}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": _DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    yield memoryview(len(text).to_bytes(8, "little") + text)
    for tensor in tensors.values():
        whole = tensor.detach().cpu().contiguous()
        # As bytes: numpy knows no bf16.
        yield whole.reshape(-1).view(torch.uint8).numpy().data


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
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, _new_digest)
    except OSError as error:
        raise UserError(
            f"{path.name} cannot be read", received=(error.strerror or str(error)).lower()
        ) from error
    if not path.name.endswith(f"-{digest.hexdigest()}.safetensors"):
        raise UserError(
            f"{path.name} is damaged", received="content that its checksum does not fit"
        )
    try:
        with safe_open(path, framework="pt") as opened:
            facts = json.loads(opened.metadata()[_FACTS])
            # Copies, since the library gives views of the file.
            tensors = {name: opened.get_tensor(name).clone() for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path.name} is no checkpoint", received=str(error)) from error
    if facts.get("format") != FORMAT:
        raise UserError(
            f"{path.name} has a format that this reslab does not know",
            expected=f"format {FORMAT}",
            received=repr(facts.get("format")),
        )
    return Checkpoint(facts["step"], tensors, facts)
