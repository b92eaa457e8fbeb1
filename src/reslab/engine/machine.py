"""What this machine has, and what is chosen on it: device, precision, layout, threads.

Every choice comes with its reason, so that ``reslab doctor`` can say why.
"""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from reslab.engine.cgroups import cpu_limit
from reslab.errors import UserError
from reslab.ops.native import find_kernels, onednn_cap

# What torch takes by itself, OMP_NUM_THREADS included, before anybody changes it.
_TORCH_THREADS = torch.get_num_threads()

# Values of oneDNN's cap that leave AMX tiles switched on, besides those that name AMX.
_AMX_ALLOWED = {"", "DEFAULT", "ALL"}


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What was found.

    Attributes:
        cpu: the processor's name.
        cpus: processors that this process may use.
        cpu_limit: how many of them it may keep busy, where a container sets a limit; or None.
        features: instruction sets that matter here, and whether torch can use them now.
        capability: instruction set that torch's own kernels use, such as AVX512.
        cuda: name of the CUDA device, or None.
        cuda_bf16: whether that device computes in bf16.
        mps: whether Apple's GPU is there.
    """

    cpu: str
    cpus: int
    cpu_limit: float | None = None
    features: Mapping[str, bool]
    capability: str
    cuda: str | None
    cuda_bf16: bool
    mps: bool


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One decision: what was decided, how, and why."""

    setting: str
    value: str | int
    reason: str


def inspect_machine(environ: Mapping[str, str] | None = None) -> Machine:
    """Look at the machine, obeying the caps that oneDNN's environment variable sets."""
    environ = os.environ if environ is None else environ
    cap = onednn_cap(environ)
    onednn_bf16 = bool(
        torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )
    # torch reports AMX even where a cap forbids it, hence the look at the cap itself.
    amx_allowed = cap in _AMX_ALLOWED or "AMX" in cap
    cuda = torch.cuda.is_available()
    return Machine(
        cpu=_cpu_name(),
        cpus=_usable_cpus(),
        cpu_limit=cpu_limit(),
        features={
            "avx512": torch.cpu._is_avx512_supported(),
            "avx512_bf16": torch.cpu._is_avx512_bf16_supported() and onednn_bf16,
            "amx_bf16": torch.cpu._is_amx_tile_supported() and onednn_bf16 and amx_allowed,
        },
        capability=torch.backends.cpu.get_cpu_capability(),
        cuda=torch.cuda.get_device_name() if cuda else None,
        cuda_bf16=cuda and torch.cuda.is_bf16_supported(including_emulation=False),
        mps=torch.backends.mps.is_available(),
    )


def choose_device(machine: Machine, asked: str) -> Choice:
    """The device for ``auto``, ``cpu``, ``cuda`` or ``mps``.

    Raises:
        UserError: where the asked-for device is not there.
    """
    there = {"cpu": True, "cuda": machine.cuda is not None, "mps": machine.mps}
    if asked == "auto":
        for device, reason in (("cuda", str(machine.cuda)), ("mps", "Apple's GPU is there")):
            if there[device]:
                return Choice(setting="device", value=device, reason=reason)
        return Choice(setting="device", value="cpu", reason="no GPU was found")
    if not there[asked]:
        raise UserError(
            f"this machine has no device {asked}",
            expected=" or ".join(name for name, found in there.items() if found),
            remedy="set engine.device=auto",
        )
    return Choice(setting="device", value=asked, reason="as asked")


def choose_precision(machine: Machine, device: str, asked: str) -> Choice:
    """fp32 or bf16 for the convolutions of training.

    On a CPU bf16 pays with AMX tiles only: AVX-512's bf16 instructions were measured at half
    of fp32's speed in matrix products and convolutions alike
    (docs/decisions/0004-engine-choices.md).

    Raises:
        UserError: for bf16 on a device that has none.
    """
    if asked == "bf16" and (device == "mps" or (device == "cuda" and not machine.cuda_bf16)):
        raise UserError(
            f"device {device} does not train in bf16 here", remedy="set engine.precision=auto"
        )
    if asked != "auto":
        return Choice(setting="precision", value=asked, reason="as asked")
    if device == "cuda" and machine.cuda_bf16:
        return Choice(setting="precision", value="bf16", reason="the GPU computes in bf16")
    if device == "cpu" and machine.features["amx_bf16"]:
        return Choice(setting="precision", value="bf16", reason="the CPU has AMX tiles for bf16")
    reason = {
        "cpu": "the CPU has no usable AMX tiles, without which bf16 is slower",
        "cuda": "the GPU does not compute in bf16",
        "mps": "bf16 is not used on Apple's GPU",
    }[device]
    return Choice(setting="precision", value="fp32", reason=reason)


def choose_memory_format(device: str, asked: str) -> Choice:
    """``channels_last`` where convolutions want it."""
    if asked != "auto":
        return Choice(setting="memory_format", value=asked, reason="as asked")
    if device == "mps":
        return Choice(setting="memory_format", value="contiguous", reason="the default on mps")
    return Choice(
        setting="memory_format",
        value="channels_last",
        reason="convolutions and batch norm run on it without reordering",
    )


def choose_kernels(
    asked: str, *, device: str, precision: str, memory_format: str, compiled: bool
) -> Choice:
    """Whose operations train: ``reslab`` or ``torch``.

    Args:
        asked: one of them, or ``auto``.
        device: as chosen.
        precision: as chosen.
        memory_format: as chosen.
        compiled: whether torch.compile makes operations of its own.

    Raises:
        UserError: for reslab's where they cannot be had.
    """
    if asked == "torch":
        return Choice(setting="kernels", value="torch", reason="as asked")
    against = {
        f"reslab's are for cpu, not {device}": device != "cpu",
        f"reslab's compute in fp32, not {precision}": precision != "fp32",
        f"reslab's need channels_last, not {memory_format}": memory_format != "channels_last",
        "torch.compile makes its own": compiled,
    }
    reason = next((text for text, applies in against.items() if applies), None)
    if reason is None:
        found = find_kernels()
        if found.kernels is not None:
            return Choice(setting="kernels", value="reslab", reason=found.reason)
        reason = found.reason
    if asked == "reslab":
        raise UserError(
            "engine.kernels=reslab cannot be had here",
            received=reason,
            remedy="set engine.kernels=auto",
        )
    return Choice(setting="kernels", value="torch", reason=reason)


def choose_threads(machine: Machine, asked: int | str) -> Choice:
    """Threads for the CPU's work.

    Raises:
        UserError: for more threads than the process has processors.
    """
    if asked == "auto":
        # Threads beyond a container's limit are stopped in turn, and the others wait for them.
        allowed = machine.cpus if machine.cpu_limit is None else math.ceil(machine.cpu_limit)
        threads = min(_TORCH_THREADS, machine.cpus, max(1, allowed))
        reason = f"{machine.cpus} usable CPUs"
        if threads < min(machine.cpus, allowed):
            reason = f"what torch was given, OMP_NUM_THREADS included, of {reason}"
        elif threads < machine.cpus:
            reason = f"the container's limit of {machine.cpu_limit:.3g} CPUs, of {reason}"
        return Choice(setting="threads", value=threads, reason=reason)
    if int(asked) > machine.cpus:
        raise UserError(
            "engine.threads is more than this process has CPUs",
            expected=f"at most {machine.cpus}",
            received=str(asked),
            remedy="set engine.threads=auto",
        )
    return Choice(setting="threads", value=int(asked), reason="as asked")


def _usable_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
