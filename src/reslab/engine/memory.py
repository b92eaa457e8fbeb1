"""Memory: how much there is, was used and can be given back, and errors for want of it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import psutil
import torch

from reslab.engine.cgroups import memory_limits, read

resource: ModuleType | None
try:
    import resource
except ImportError:  # Windows
    resource = None

# Parts of what is said, in lower case, where memory is short outside of torch's own allocators:
# by CUDA, MPS, cuBLAS, cuDNN (which finds no engine that fits) and the CPU's on Linux and Windows.
_TOO_LITTLE = (
    "out of memory",
    "alloc_failed",
    "unable to find an engine to execute this computation",
    "can't allocate memory",
    "not enough memory",
    "std::bad_alloc",
)

_STATUS = Path("/proc/self/status")


def memory_of(device: str) -> int:
    """Bytes that the device has for this process, whoever uses them now.

    On a CPU that is the machine's memory, or less where a container sets a limit.
    """
    if device == "cuda":
        return int(torch.cuda.get_device_properties(0).total_memory)
    # Apple's GPU shares the machine's memory.
    return min([psutil.virtual_memory().total, *(limit for limit, _ in memory_limits())])


def free_memory(device: str) -> int:
    """Bytes that the device can still give this process, without driving others out."""
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    free = [psutil.virtual_memory().available, *(limit - used for limit, used in memory_limits())]
    return max(0, min(free))


def peak_bytes() -> int | None:
    """The most memory that this process has held so far; None where it cannot be asked."""
    # Linux: what resource tells there may be of the process that this one was started by.
    for line in read(_STATUS).splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    if resource is None:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * unit


def is_out_of_memory(error: Exception) -> bool:
    """Whether a computation failed for want of memory, on whatever device.

    >>> is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory")), is_out_of_memory(KeyError())
    (True, False)
    """
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and any(said in str(error).lower() for said in _TOO_LITTLE)
    )


def release(device: str) -> None:
    """Give back what torch keeps of freed memory, so that blocks of other sizes can be had."""
    if device == "cuda":
        torch.cuda.empty_cache()
    elif device == "mps":
        torch.mps.empty_cache()
