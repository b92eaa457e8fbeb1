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

# Of matplotlib, scikit-learn and what they load, measured as 0.2 GiB.
LIBRARIES = 2**28

_MEMINFO = Path("/proc/meminfo")

# Where the kernel tells of control groups, which containers and schedulers put processes into.
_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")


def memory_of(device: str) -> int:
    """Bytes that the device has for this process, whoever uses them now.

    On a CPU that is the machine's memory, or less where a container sets a limit.
    """
    if device == "cuda":
        return int(torch.cuda.get_device_properties(0).total_memory)
    # Apple's GPU shares the machine's memory.
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([there, *(limit for limit, _ in _limits())])


def free_memory(device: str) -> int:
    """Bytes that the device can still give this process, without driving others out."""
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    free = [memory_of(device), *(limit - used for limit, used in _limits())]
    if _MEMINFO.is_file():
        lines = dict(line.split(":") for line in _MEMINFO.read_text().splitlines())
        if "MemAvailable" in lines:
            free.append(int(lines["MemAvailable"].split()[0]) * 1024)
    return max(0, min(free))


def _limits() -> list[tuple[int, int]]:
    """(limit, used) in bytes of each control group that holds this process, and of those above.

    Files in the page cache, which are given up when needed, do not count as used.
    """
    found = []
    for group in _own_groups():
        # Version 2, then version 1.
        for limit, used in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            text = _read(group / limit)
            if text.isdecimal():
                stat = dict(line.split() for line in _read(group / "memory.stat").splitlines())
                cache = int(stat.get("total_inactive_file", stat.get("inactive_file", 0)))
                found.append((int(text), max(0, int(_read(group / used) or 0) - cache)))
    return found


def _own_groups() -> list[Path]:
    """The folders of this process's control groups and of those around them."""
    groups = []
    for line in _read(_OWN_CGROUP).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            below = _CGROUPS / controllers / path.lstrip("/")
            groups += [p for p in (below, *below.parents) if p.is_relative_to(_CGROUPS)]
    # In a container its own group may be mounted where the root would be.
    return list(dict.fromkeys([*groups, _CGROUPS, _CGROUPS / "memory"]))


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def held_share(segments: int) -> float:
    """What a step holds at once of the activations that it would keep without segments.

    With segments that are computed again: the inputs of all, and one of them with its
    gradients. The bounds lie above what benchmarks/memory_depth.py measured, 1.21 for
    resnet1202 and 0.09 with 48 segments; few segments of unequal blocks need more.

    >>> held_share(0), held_share(48)
    (1.25, 0.16666666666666666)
    """
    return 1.25 if segments == 0 else min(1.25, 8 / segments)


def held_always(parameters: int) -> int:
    """Bytes that a training holds besides activations and images.

    Weights, gradients, up to two numbers that an optimiser keeps of each weight, the best
    weights so far; and the libraries that evaluation and report load.
    """
    return 5 * 4 * parameters + LIBRARIES


def choose_micro_batches(
    asked: int | str,
    *,
    batch_size: int,
    least: int,
    image_bytes: float,
    fixed_bytes: int,
    free: int,
) -> Choice:
    """Into how many parts a batch is cut so that a step fits into the memory that is free.

    Args:
        asked: a number, or ``auto``.
        batch_size: images of a batch.
        least: images that a part must have, which batch norm may need to be two.
        image_bytes: what a step holds of one image.
        fixed_bytes: what it holds whatever the batch: gradients, the optimiser's state.
        free: bytes that the device can give.

    Raises:
        UserError: where not even the smallest parts fit, or parts are too small.
    """
    setting = "micro_batches"
    if asked != "auto":
        if int(asked) > batch_size // least:
            raise UserError(
                "engine.micro_batches leaves too few images in a part",
                expected=f"at most {batch_size // least}, for {least} or more images each",
                received=str(asked),
            )
        return Choice(setting=setting, value=int(asked), reason="as asked")
    room = _MOST * free - fixed_bytes
    told = (
        f"a step takes {(fixed_bytes + image_bytes * batch_size) / 2**30:.1f} of "
        f"{free / 2**30:.1f} GiB that are free"
    )
    most = batch_size // least
    parts = 1
    while parts < most and image_bytes * -(-batch_size // parts) > room:
        parts = min(2 * parts, most)
    smallest = -(-batch_size // parts)
    if image_bytes * smallest > room:
        raise UserError(
            "there is too little memory for this training",
            expected=f"{(fixed_bytes + image_bytes * smallest) / _MOST / 2**30:.1f} GiB for "
            f"{smallest} images at a time",
            received=f"{free / 2**30:.1f} GiB that are free",
            remedy="choose a smaller net or smaller images, or more engine.checkpoint_segments",
        )
    if parts == 1:
        return Choice(setting=setting, value=1, reason=told)
    return Choice(
        setting=setting,
        value=parts,
        reason=f"{told}: batches are computed in {parts} parts, and batch norm sees "
        f"{smallest} images at a time",
    )


def choose_checkpoint_segments(
    asked: int | str,
    *,
    batch_bytes: int,
    fixed_bytes: int,
    memory: int,
    free: int,
    convolutions: int,
) -> Choice:
    """Segments whose activations are computed again in the backward; 0 keeps them all.

    Args:
        asked: a number, or ``auto``.
        batch_bytes: what the activations of a batch take where all are kept.
        fixed_bytes: what a training holds besides.
        memory: what the device has, in bytes.
        free: what of it is free now.
        convolutions: of the residual branches, which decide how many segments are usual.
    """
    setting = "checkpoint_segments"
    if asked != "auto":
        return Choice(setting=setting, value=int(asked), reason="as asked")
    told = f"the activations of a batch take {batch_bytes / 2**30:.1f} of {memory / 2**30:.0f} GiB"
    if batch_bytes <= _SHARE * memory and held_share(0) * batch_bytes + fixed_bytes <= _MOST * free:
        return Choice(setting=setting, value=0, reason=told)
    return Choice(
        setting=setting, value=usual_segments(convolutions), reason=f"{told}: too much to keep"
    )
