"""What was measured of engines on this machine, kept for the next time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from reslab.engine.machine import Machine
from reslab.engine.runtime import Runtime
from reslab.errors import ReslabError
from reslab.folders import cache_folder
from reslab.inference.catalog import ENGINES
from reslab.runs.environment import package_version
from reslab.writing import write_atomically

FORMAT = 1
# Nets, sizes of batch and versions that are remembered, the newest.
_MOST_ENTRIES = 500
# A failure is believed so long: its reason may be gone by then, such as a compiler that was broken
# or a full disk, and to try again and again would cost each long job its time.
_FAILURE_SECONDS = 24 * 3600.0


@dataclass(frozen=True, kw_only=True)
class Measured:
    """An engine's times.

    Attributes:
        setup_seconds: of preparing the net.
        batch_seconds: of a batch.
        failure: why there are no times, where preparing failed; else empty.
        failed_at: when it did, in seconds since 1970.
    """

    setup_seconds: float = 0.0
    batch_seconds: float = 0.0
    failure: str = ""
    failed_at: float = 0.0

    @property
    def is_known(self) -> bool:
        """Whether there are times, or the failure is of the last day."""
        age = time.time() - self.failed_at
        return not self.failure or 0 <= age < _FAILURE_SECONDS


def memo_path() -> Path:
    """The file: ``reslab/engines/times.json`` in ``XDG_CACHE_HOME`` or ``~/.cache``."""
    return cache_folder("engines") / "times.json"


def key_of(
    model: nn.Module, batch_shape: tuple[int, ...], runtime: Runtime, machine: Machine
) -> str:
    """What a measurement holds for: architecture, shape of the batch, machine, versions.

    Weights are no part of it: they do not change how long a net takes.
    """
    net = [repr(model), [(name, tuple(t.shape)) for name, t in model.state_dict().items()]]
    packages = {"torch", "reslab"}.union(*(entry.packages for entry in ENGINES))
    facts: dict[str, Any] = {
        "net": hashlib.sha256(repr(net).encode()).hexdigest()[:16],
        "batch": batch_shape,
        "device": runtime.device,
        "memory_format": runtime.memory_format,
        "threads": runtime.threads,
        "machine": [machine.cpu, machine.cpus, machine.capability, dict(machine.features)],
        "gpu": machine.cuda if runtime.device == "cuda" else None,
        "versions": {name: package_version(name) for name in sorted(packages)},
    }
    return json.dumps(facts, sort_keys=True)


def recall(key: str) -> dict[str, Measured]:
    """What was measured, by engine; empty where nothing was, or the file is damaged."""
    try:
        found = {
            str(name): Measured(
                setup_seconds=_seconds(fields["setup_seconds"]),
                batch_seconds=_seconds(fields["batch_seconds"]),
                failure=str(fields["failure"]),
                failed_at=_seconds(fields.get("failed_at", 0.0)),
            )
            for name, fields in _read()[key].items()
        }
    except (AttributeError, KeyError, TypeError, ValueError):
        return {}
    return {name: measured for name, measured in found.items() if measured.is_known}


def remember(key: str, measured: Mapping[str, Measured]) -> None:
    """Keep what was measured, beside what the file holds of other engines.

    Where the file cannot be written it will be measured again. Of two processes that write at the
    same moment one is heard.
    """
    before = recall(key)
    entries = _read()
    # The newest stand last.
    entries.pop(key, None)
    entries[key] = {name: asdict(found) for name, found in {**before, **measured}.items()}
    kept = dict(list(entries.items())[-_MOST_ENTRIES:])
    content = json.dumps({"format": FORMAT, "measured": kept}, indent=1).encode()
    with contextlib.suppress(OSError, RuntimeError, ReslabError):
        path = memo_path()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)


def _seconds(value: object) -> float:
    if not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError(value)
    return float(value)


def _read() -> dict[str, Any]:
    """What the file holds, by key; empty where it is missing, damaged or of another format."""
    try:
        document = json.loads(memo_path().read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError):  # the last for want of a home
        return {}
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        return {}
    measured = document.get("measured")
    return dict(measured) if isinstance(measured, dict) else {}
