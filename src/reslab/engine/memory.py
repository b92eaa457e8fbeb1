"""How much memory there is, and whether a training step has to be sparing with it."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from reslab.engine.machine import Choice
from reslab.ops.recompute import usual_segments

# Where a step's activations need more of the memory than this, they are computed again:
# weights, their gradients, the data and other programs need the rest.
_SHARE = 0.25

# Limits of the control group that a container puts its processes into: version 2, then 1.
_CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def memory_of(device: str) -> int:
    """Bytes that the device has for this process, whoever uses them now.

    On a CPU that is the machine's memory, or less where a container sets a limit.
    """
    if device == "cuda":
        return int(torch.cuda.get_device_properties(0).total_memory)
    # Apple's GPU shares the machine's memory.
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [path.read_text().strip() for path in _CGROUP_LIMITS if path.is_file()]
    return min([there, *(int(limit) for limit in limits if limit.isdecimal())])


def choose_checkpoint_segments(
    asked: int | str, *, batch_bytes: int, memory: int, convolutions: int
) -> Choice:
    """Segments whose activations are computed again in the backward; 0 keeps them all.

    Args:
        asked: a number, or ``auto``.
        batch_bytes: what the activations of a batch take where all are kept.
        memory: what the device has, in bytes.
        convolutions: of the residual branches, which decide how many segments are usual.
    """
    setting = "checkpoint_segments"
    if asked != "auto":
        return Choice(setting=setting, value=int(asked), reason="as asked")
    told = f"the activations of a batch take {batch_bytes / 2**30:.1f} of {memory / 2**30:.0f} GiB"
    if batch_bytes <= _SHARE * memory:
        return Choice(setting=setting, value=0, reason=told)
    return Choice(
        setting=setting, value=usual_segments(convolutions), reason=f"{told}: too much to keep"
    )
