"""The machine's C++ compilers, which build the kernels and what torch's inductor writes."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

_BUILD_SECONDS = 300


class BuildError(Exception):
    """Raised where a compiler fails; the text says at what."""


def find_compilers(named: str, usual: Sequence[str]) -> list[list[str]]:
    """The commands that may compile C++, the best first; none where there is no compiler.

    Args:
        named: what ``CXX`` holds, a program with options of its own; empty: nobody asked for one.
        usual: the programs that are looked for then.

    >>> find_compilers("no-such-compiler -O1", ["sh"])
    []
    """
    try:
        wanted = shlex.split(named)
    except ValueError:
        return []
    if wanted:
        return [wanted] if shutil.which(wanted[0]) else []
    return [[path] for path in map(shutil.which, usual) if path]


def no_compiler(named: str, usual: Sequence[str]) -> str:
    """What to tell where ``find_compilers`` finds none.

    >>> no_compiler("", ["c++", "g++"])
    'there is no C++ compiler (c++ or g++)'
    """
    return f"there is no C++ compiler ({named or ' or '.join(usual)})"


def build_library(
    compiler: Sequence[str], flags: Sequence[str], sources: Sequence[Path], to: Path
) -> None:
    """Compile sources to a file.

    Raises:
        BuildError: with the first error of a compiler, or what became of it.
    """
    try:
        subprocess.run(
            [*compiler, *flags, *map(str, sources), "-o", str(to)],
            check=True,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_BUILD_SECONDS,
        )
    except subprocess.CalledProcessError as error:
        said = [line for line in error.stderr.splitlines() if "error" in line]
        what = said[0].strip() if said else f"exit {error.returncode}"
        raise BuildError(f"{compiler[0]} could not build the kernels: {what}") from error
    except (OSError, subprocess.SubprocessError) as error:
        raise BuildError(f"{compiler[0]} could not build the kernels: {error}") from error


def build_by_any(
    compilers: Sequence[list[str]], flags: Sequence[str], sources: Sequence[Path], to: Path
) -> None:
    """Compile sources to a file by the first that can: one may lack OpenMP, or be too old.

    Raises:
        BuildError: that of the first, where none can.
    """
    errors: list[BuildError] = []
    for compiler in compilers:
        try:
            build_library(compiler, flags, sources, to)
        except BuildError as error:
            errors.append(error)
        else:
            return
    raise errors[0]
