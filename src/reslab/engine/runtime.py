"""A decided engine, ready to use: where tensors go, in which layout and precision."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import sys
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reslab.errors import UserError
from reslab.ops.native import Kernels, find_kernels, using_kernels


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """Plain choices, as ``reslab.engine.machine`` makes them, turned into torch's terms.

    Attributes:
        device: ``cpu``, ``cuda`` or ``mps``.
        precision: ``fp32`` or ``bf16``: autocast of the training step's forward pass.
        memory_format: ``contiguous`` or ``channels_last``.
        threads: threads on the CPU.
        compile: compile the net before training.
        kernels: ``reslab`` or ``torch``: whose operations train.
        checkpoint_segments: segments of the net whose activations are computed again in the
            backward; 0: none.
        micro_batches: parts that a batch is computed in, one after the other.
    """

    device: str = "cpu"
    precision: str = "fp32"
    memory_format: str = "channels_last"
    threads: int = 1
    compile: bool = False
    kernels: str = "torch"
    checkpoint_segments: int = 0
    micro_batches: int = 1

    def active(self) -> contextlib.AbstractContextManager[None]:
        """Within the context the process has this engine's threads and kernels.

        Afterwards it has what it had, but for how glibc treats freed memory, which cannot be asked
        how it was.

        Raises:
            UserError: where it wants reslab's kernels and they cannot be had.
        """
        if self.device == "cpu":
            _settle_process()
        return _Active(self.threads, self._kernels())

    def _kernels(self) -> Kernels | None:
        if self.kernels == "torch":
            return None
        found = find_kernels()
        if found.kernels is None:
            raise UserError(
                "engine.kernels=reslab cannot be had here",
                received=found.reason,
                remedy="install a C++ compiler with OpenMP, such as g++; or, to go on with "
                "torch's, whose last digits differ, set kernels: torch under engine in the run's "
                "run.yaml",
            )
        return found.kernels

    def own_random_state(self) -> contextlib.AbstractContextManager[None]:
        """Within the context torch's generators may be seeded; afterwards they are as before."""
        devices = range(torch.cuda.device_count()) if self.device == "cuda" else []
        return torch.random.fork_rng(devices=devices)

    def seed(self, seed: int) -> None:
        """Seed what torch draws on this device.

        ``torch.manual_seed`` gives the same draws, but keeps its caller's traceback as text where
        CUDA could be used later: 0.2 to 0.4 ms, too much for every step.
        """
        torch.default_generator.manual_seed(seed)
        if self.device == "cuda":
            torch.cuda.manual_seed_all(seed)
        elif self.device == "mps":
            torch.mps.manual_seed(seed)

    def place_model(self, model: nn.Module) -> nn.Module:
        """The model on the device, its weights in the layout."""
        return model.to(device=self.device, memory_format=self._torch_format)  # type: ignore[call-overload, no-any-return]

    def place_images(self, images_NCHW: Tensor) -> Tensor:
        """Images on the device, in the layout."""
        return images_NCHW.to(self.device, memory_format=self._torch_format, non_blocking=True)

    def place(self, tensor: Tensor) -> Tensor:
        """Any other tensor on the device."""
        return tensor.to(self.device, non_blocking=True)

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """The context of a forward pass in training."""
        if self.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device, dtype=torch.bfloat16)

    def compiled(self, model: nn.Module) -> nn.Module:
        """The model as the training step calls it; it shares its weights with ``model``."""
        if not self.compile:
            return model
        # Static shapes: a step compiled for any shape differs in its last bits from one
        # compiled for its own, so that a run would depend on when it was compiled.
        return torch.compile(model, dynamic=False)  # type: ignore[return-value]

    def synchronize(self) -> None:
        """Wait for the device, so that a clock read afterwards is true."""
        if self.device == "cuda":
            torch.cuda.synchronize()
        elif self.device == "mps":
            torch.mps.synchronize()

    @property
    def _torch_format(self) -> torch.memory_format:
        if self.memory_format == "channels_last":
            return torch.channels_last
        return torch.contiguous_format


class _Active(contextlib.AbstractContextManager[None]):
    """Threads and kernels for a while.

    Written out and doing only what changes something, since a session enters it with every call:
    see docs/decisions/0016.
    """

    def __init__(self, threads: int, kernels: Kernels | None) -> None:
        self._threads = threads
        self._kernels = using_kernels(kernels)

    def __enter__(self) -> None:
        self._before = torch.get_num_threads()
        if self._threads != self._before:
            torch.set_num_threads(self._threads)
        self._kernels.__enter__()

    def __exit__(self, *_: object) -> None:
        self._kernels.__exit__(None, None, None)
        if torch.get_num_threads() != self._before:
            torch.set_num_threads(self._before)


def keep_freed_memory() -> bool:
    """Let glibc keep what a step frees instead of giving it back and fetching it zeroed.

    Each step allocates and frees the same activations; by default the larger ones are
    mapped and unmapped every time, and each new page costs a fault. Returns whether it
    applied: elsewhere than on glibc nothing is done.
    """
    m_trim_threshold, m_mmap_threshold = -1, -3
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    kept = mallopt(m_trim_threshold, 2**31 - 1)
    mapped = mallopt(m_mmap_threshold, 2**30)
    return bool(kept and mapped)


@functools.cache
def _settle_process() -> None:
    """Once a process, whose threads and memory are then what every engine expects."""
    # Even to the number that it is: it also ends MKL's choosing of fewer threads by itself, on
    # which last digits would depend.
    torch.set_num_threads(torch.get_num_threads())
    keep_freed_memory()
