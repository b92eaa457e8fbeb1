"""How much memory there is, and whether a training step has to be sparing with it."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from reslab.engine.machine import Choice
from reslab.errors import UserError
from reslab.ops.recompute import usual_segments

# Where a step's activations need more of the memory than this, they are computed again:
# weights, their gradients, the data and other programs need the rest.
_SHARE = 0.25

# Of the memory that is free now, what a step may take.
_MOST = 0.9

_MEMINFO = Path("/proc/meminfo")

# Limits of the control group that a container puts its processes into: version 2, then 1.
_CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
_CGROUP_USED = (
    Path("/sys/fs/cgroup/memory.current"),
    Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
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


def free_memory(device: str) -> int:
    """Bytes that the device can still give this process, without driving others out."""
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    free = [memory_of(device)]
    if _MEMINFO.is_file():
        lines = dict(line.split(":") for line in _MEMINFO.read_text().splitlines())
        if "MemAvailable" in lines:
            free.append(int(lines["MemAvailable"].split()[0]) * 1024)
    for limit, used in zip(_CGROUP_LIMITS, _CGROUP_USED, strict=True):
        if limit.is_file() and used.is_file():
            text = limit.read_text().strip()
            if text.isdecimal():
                free.append(int(text) - int(used.read_text()) + _page_cache(used.parent))
    return max(0, min(free))


def _page_cache(cgroup: Path) -> int:
    """Bytes of files that count as used by a control group and are given up when needed."""
    stat = cgroup / "memory.stat"
    lines = dict(line.split() for line in stat.read_text().splitlines()) if stat.is_file() else {}
    return int(lines.get("inactive_file", lines.get("total_inactive_file", 0)))


def kept_share(segments: int) -> float:
    """Of a batch's activations, what is held at once where segments are computed again.

    The inputs of all segments, and one segment with its gradients; measured at 48 segments of
    resnet1202 as 0.073 (benchmarks/memory_depth.py), which this bounds from above.

    >>> kept_share(0), kept_share(40)
    (1.0, 0.1)
    """
    return 1.0 if segments == 0 else min(1.0, 4 / segments)


def choose_micro_batches(
    asked: int | str, *, batch_size: int, image_bytes: float, fixed_bytes: int, free: int
) -> Choice:
    """Into how many parts a batch is cut so that a step fits into the memory that is free.

    Args:
        asked: a number, or ``auto``.
        batch_size: images of a batch.
        image_bytes: what a step holds of one image.
        fixed_bytes: what it holds whatever the batch: gradients, the optimiser's state.
        free: bytes that the device can give.

    Raises:
        UserError: where not even single images fit, or there are more parts than images.
    """
    setting = "micro_batches"
    if asked != "auto":
        if int(asked) > batch_size:
            raise UserError(
                "engine.micro_batches is more than a batch has images",
                expected=f"at most {batch_size}",
                received=str(asked),
            )
        return Choice(setting=setting, value=int(asked), reason="as asked")
    room = _MOST * free - fixed_bytes
    told = (
        f"a step takes {(fixed_bytes + image_bytes * batch_size) / 2**30:.1f} of "
        f"{free / 2**30:.1f} GiB that are free"
    )
    parts = 1
    while parts < batch_size and image_bytes * -(-batch_size // parts) > room:
        parts *= 2
    parts = min(parts, batch_size)
    if image_bytes * -(-batch_size // parts) > room:
        raise UserError(
            "there is too little memory for this training",
            expected=f"{(fixed_bytes + image_bytes) / 2**30:.1f} GiB for single images",
            received=f"{free / 2**30:.1f} GiB that are free",
            remedy="choose a smaller net or smaller images, or more engine.checkpoint_segments",
        )
    if parts == 1:
        return Choice(setting=setting, value=1, reason=told)
    return Choice(
        setting=setting,
        value=parts,
        reason=f"{told}: batches are computed in {parts} parts, and batch norm sees "
        f"{-(-batch_size // parts)} images at a time",
    )


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
