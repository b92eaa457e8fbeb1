"""The kernels in C++: found for the machine's instruction set, called, and switched on.

They need a compiler of C++17 with OpenMP at their first use; without one torch's own
operations do everything. They obey the caps on instruction sets that torch and oneDNN take from
the environment (``ATEN_CPU_CAPABILITY``, ``ONEDNN_MAX_CPU_ISA``).
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import platform
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor

from reslab.errors import ReslabError
from reslab.ops.compiler import BuildError
from reslab.ops.library import compiler_obstacle, is_kept, open_library

# By the instruction sets that torch names; both have fused multiplication and addition.
_LEVELS = {"AVX512": "x86-64-v4", "AVX2": "x86-64-v3"}

# Values of oneDNN's cap that forbid what a level needs.
_BELOW_AVX2 = {"SSE41", "AVX"}
_BELOW_AVX512 = {*_BELOW_AVX2, "AVX2", "AVX2_VNNI", "AVX2_VNNI_2"}

# The arguments of each function: p pointer, l whole number of 64 bits, i of 32, d double.
_TYPES = {"p": ctypes.c_void_p, "l": ctypes.c_int64, "i": ctypes.c_int, "d": ctypes.c_double}
_SIGNATURES = {
    "pack_weights": "pllllplii",
    "unpack_weights": "plipllllii",
    "convolve": "pppppp" + "liiii",
    "convolve_backward": "ppppppppppppp" + "liiii",
    "pack_source": "pppp" + "lliiii",
    "pack_gradient": "ppppp" + "lliiii",
    "unpack_output": "ppp" + "lliiii",
    "unpack_gradient": "ppppppppp" + "lliiii",
    "stride": "pppppp" + "liiiii",
    "stride_backward": "ppppppppppppp" + "liiiii",
    "sum": "pplii",
    "norm": "pplppddppppii",
    "norm_backward": "pplppppi",
    "activate": "pppplii",
    "add_activate": "ppppppplii",
    "mask": "pppppplii",
    "norm_gradient": "pppplii",
    "resample": "pllll" + "ppppp" + "lliiii",
    "moments": "pppll",
}


# What a function gives: how it ended, as simd.h has it.
_DONE, _NO_MEMORY = 0, 1


@dataclass(frozen=True)
class Kernels:
    """The functions of the loaded library.

    Attributes:
        lanes: numbers in a vector; channels must be a multiple of it.
        level: the instruction set that they were built for, in the compiler's terms.
        compiler: its name and version.
    """

    library: ctypes.CDLL
    lanes: int
    level: str
    compiler: str

    def call(self, name: str, *arguments: Tensor | int | float | None) -> None:
        """Call a function of ops/kernels by its name without the prefix.

        Tensors are passed as the addresses of their first numbers: the caller answers for their
        layout and types.

        Raises:
            MemoryError: where there was too little memory for what it keeps meanwhile.
        """
        ending = getattr(self.library, f"reslab_{name}")(
            *[a.data_ptr() if isinstance(a, Tensor) else a for a in arguments]
        )
        if ending == _NO_MEMORY:
            raise MemoryError(f"there is too little memory for the kernel {name}")
        if ending != _DONE:
            raise ReslabError(f"the kernel {name} failed")


# Numbers that are worth a thread: waking one takes as long as a few thousand of them.
_GRAIN = 2**15


def threads_for(numbers: int) -> int:
    """How many of torch's threads work on so many numbers; the same for the same number.

    >>> threads_for(1)
    1
    """
    return max(1, min(torch.get_num_threads(), numbers // _GRAIN))


@dataclass(frozen=True)
class Found:
    """The kernels, or why there are none."""

    kernels: Kernels | None
    reason: str


def find_kernels(environ: Mapping[str, str] | None = None) -> Found:
    """Build the kernels, or load those that were built before; once in a process.

    Args:
        environ: the environment that holds the caps and the compiler's name ``CXX``; None: this
            process's.
    """
    environ = os.environ if environ is None else environ
    level = _usable_level(environ)
    return level if isinstance(level, Found) else _load(level, environ.get("CXX", ""))


def _usable_level(environ: Mapping[str, str]) -> str | Found:
    """The instruction set in the compiler's terms, or why there can be no kernels."""
    if platform.system() != "Linux":
        return Found(None, "the kernels are built on Linux only")
    level = instruction_set(torch.backends.cpu.get_cpu_capability(), environ)
    if level is None:
        return Found(None, "the CPU, or a cap on its instruction sets, has no AVX2")
    return level


def instruction_set(capability: str, environ: Mapping[str, str]) -> str | None:
    """What the kernels may use, in the compiler's terms; None where that is too little.

    Args:
        capability: what torch's own kernels use, which obeys ``ATEN_CPU_CAPABILITY``.
        environ: holds oneDNN's cap.

    >>> instruction_set("AVX512", {"ONEDNN_MAX_CPU_ISA": "AVX2"})
    'x86-64-v3'
    """
    cap = onednn_cap(environ)
    if cap in _BELOW_AVX2:
        return None
    if cap in _BELOW_AVX512 and capability == "AVX512":
        capability = "AVX2"
    return _LEVELS.get(capability)


def onednn_cap(environ: Mapping[str, str]) -> str:
    """The instruction set that oneDNN is held to, in its own terms; empty where it is not."""
    # The second name is oneDNN's older one, which it still obeys.
    return (environ.get("ONEDNN_MAX_CPU_ISA") or environ.get("DNNL_MAX_CPU_ISA", "")).upper()


@functools.cache
def built_kernels() -> Kernels | None:
    """The kernels where that takes no time: they were built before. Once in a process."""
    level = _usable_level(os.environ)
    if isinstance(level, Found):
        return None
    return find_kernels().kernels if is_kept(level) else None


def kernels_obstacle(environ: Mapping[str, str] | None = None) -> str:
    """Why ``find_kernels`` would find none, or did; empty where only building can tell."""
    environ = os.environ if environ is None else environ
    level = _usable_level(environ)
    if isinstance(level, Found):
        return level.reason
    named = environ.get("CXX", "")
    if (level, named) in _FAILED:
        return _FAILED[level, named]
    return "" if is_kept(level) else compiler_obstacle(named)


# Of this process: why the kernels of a level could not be built by the compiler of that name.
_FAILED: dict[tuple[str, str], str] = {}


@functools.cache
def _load(level: str, named: str) -> Found:
    try:
        library = open_library(level, named)
        for name, signature in _SIGNATURES.items():
            function = getattr(library, f"reslab_{name}")
            function.argtypes = [_TYPES[letter] for letter in signature]
            function.restype = ctypes.c_int
        library.reslab_compiler.restype = ctypes.c_char_p
        compiler = library.reslab_compiler().decode(errors="replace").strip()
    except BuildError as error:
        _FAILED[level, named] = str(error)
    except (OSError, RuntimeError, AttributeError) as error:
        _FAILED[level, named] = f"the kernels could not be built or loaded: {error}"
    else:
        kernels = Kernels(library, library.reslab_lanes(), level, compiler)
        built_kernels.cache_clear()
        return Found(kernels, f"built for {level} by {compiler}")
    return Found(None, _FAILED[level, named])


# Off unless an engine turns it on. Of each thread its own: one may predict while another trains.
_ACTIVE: ContextVar[Kernels | None] = ContextVar("kernels", default=None)


def active_kernels() -> Kernels | None:
    """The kernels where this thread has them switched on, see ``using_kernels``."""
    return _ACTIVE.get()


class _Using(contextlib.AbstractContextManager[None]):
    """Written out, since a session enters it with every call: see docs/decisions/0016."""

    def __init__(self, kernels: Kernels | None) -> None:
        self._kernels = kernels

    def __enter__(self) -> None:
        self._token = _ACTIVE.set(self._kernels)

    def __exit__(self, *_: object) -> None:
        _ACTIVE.reset(self._token)


def using_kernels(kernels: Kernels | None) -> contextlib.AbstractContextManager[None]:
    """Within the context nets run on these kernels where they can; None: on torch's operations."""
    return _Using(kernels)
