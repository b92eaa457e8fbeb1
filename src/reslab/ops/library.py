"""The library of kernels as a file: built once for an instruction set, kept, and opened."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import logging
import os
import platform
import re
import tempfile
import time
from pathlib import Path

from reslab.errors import StorageError
from reslab.folders import cache_folder
from reslab.ops.compiler import BuildError, build_by_any, find_compilers, no_compiler
from reslab.writing import write_atomically

_LOG = logging.getLogger(__name__)

_SOURCES = Path(__file__).parent / "kernels"
_FLAGS = ("-std=c++17", "-O3", "-fopenmp", "-shared", "-fPIC")
_COMPILERS = ("c++", "g++", "clang++")

# What libraries are called that are kept, or were half written, and how long one may lie without
# being loaded.
_NAME = re.compile(r"\.?[0-9a-f]{16}\.so(\..+\.tmp)?")
_UNUSED_SECONDS = 30 * 24 * 3600


def open_library(level: str, named: str) -> ctypes.CDLL:
    """The library that was built before, or else one that is built now.

    Args:
        level: the instruction set, in the compiler's terms.
        named: what ``CXX`` holds; see ``reslab.ops.compiler.find_compilers``.

    Raises:
        BuildError: where no compiler makes one.
        OSError, RuntimeError: where it cannot be loaded, or there is no folder to build it in.
    """
    flags = _flags(level)
    return _open_built(flags) or _build(flags, named)


def is_kept(level: str) -> bool:
    """Whether a library was built before; see ``open_library``."""
    with contextlib.suppress(OSError, RuntimeError):
        return _kept(_flags(level)).is_file()
    return False


def compiler_obstacle(named: str) -> str:
    """That there is no compiler; empty where there is one. See ``open_library``."""
    return "" if find_compilers(named, _COMPILERS) else no_compiler(named, _COMPILERS)


def _flags(level: str) -> tuple[str, ...]:
    return (*_FLAGS, f"-march={level}")


def _kept(flags: tuple[str, ...]) -> Path:
    """Where a library is kept: the name tells sources, flags and machine type apart."""
    digest = hashlib.sha256(" ".join((*flags, platform.machine())).encode())
    for path in sorted([*_SOURCES.glob("*.cpp"), *_SOURCES.glob("*.h")]):
        digest.update(path.name.encode() + path.read_bytes())
    return cache_folder("kernels") / f"{digest.hexdigest()[:16]}.so"  # as ``_NAME`` has it


def _open_built(flags: tuple[str, ...]) -> ctypes.CDLL | None:
    """The library that was built before, which needs no compiler any more; None: there is none."""
    try:
        library = ctypes.CDLL(str(_kept(flags)))
    except (OSError, RuntimeError):
        # Not there, damaged, or no folder to look into: it is built anew.
        return None
    with contextlib.suppress(OSError):
        os.utime(_kept(flags))  # used, see ``_remove_unused``
    return library


def _build(flags: tuple[str, ...], named: str) -> ctypes.CDLL:
    """Compile, and keep the library whole or not at all; where it cannot be kept it still loads."""
    if obstacle := compiler_obstacle(named):
        raise BuildError(obstacle)
    compilers = find_compilers(named, _COMPILERS)
    sources = sorted(_SOURCES.glob("*.cpp"))
    _LOG.info("building kernels for this machine, once: a few seconds")
    with tempfile.TemporaryDirectory(prefix="reslab-kernels-") as folder:
        made = Path(folder) / "kernels.so"
        build_by_any(compilers, flags, sources, made)
        with contextlib.suppress(OSError, RuntimeError, StorageError):
            kept = _kept(flags)
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(kept, made.read_bytes())
            _remove_unused(kept.parent)
            return ctypes.CDLL(str(kept))
        # A library that is loaded needs its file no more.
        return ctypes.CDLL(str(made))


def _remove_unused(folder: Path) -> None:
    """Delete libraries that were built for other sources or flags and not loaded for long."""
    long_ago = time.time() - _UNUSED_SECONDS
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            with contextlib.suppress(OSError):
                if _NAME.fullmatch(path.name) and path.stat().st_mtime < long_ago:
                    path.unlink()
