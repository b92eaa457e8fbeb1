"""What every benchmark shares: one process for each contender, turns, ratios, the machine's limits.

A contender lives in a process of its own, because an engine may change its whole process
(allocator, threads): nobody then profits or suffers from another's settings. Only one of them
works at a time, and each measures its own work where it is done.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch

from provenance import without_paths
from reslab.engine import memory
from reslab.engine.machine import inspect_machine
from reslab.runs.environment import describe_environment

RESAMPLES = 10_000


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a call in a worker gave, and what it took there.

    Attributes:
        value: what the method returned.
        seconds: by the clock on the wall.
        cpu_seconds: of all threads of the worker; clearly less than threads times ``seconds``
            tells of waiting, by its own fault or because others used the machine.
    """

    value: Any
    seconds: float
    cpu_seconds: float


class Worker(AbstractContextManager["Worker"]):
    """An object in a fresh process, its methods called from here and timed there.

    Args:
        make: builds the object, in the process; must be picklable.
        threads: for torch and OpenMP in the process.
        environment: further environment variables of the process.
        patience: seconds that a call may take at most; None: without a limit.
        has_children: whether the object starts processes, which those that end with this one
            may not.
    """

    def __init__(
        self,
        make: Callable[[], object],
        *,
        threads: int,
        environment: Mapping[str, str] | None = None,
        patience: float | None = None,
        has_children: bool = False,
    ) -> None:
        self._patience = patience
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, make, threads), daemon=not has_children
        )
        wanted = {"OMP_NUM_THREADS": str(threads), **(environment or {})}
        before = {name: os.environ.get(name) for name in wanted}
        os.environ.update(wanted)
        try:
            self._process.start()
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})
        theirs.close()
        self._is_built = False

    def wait(self) -> None:
        """Wait until the object is built; several workers may be building at the same time."""
        if not self._is_built:
            self._receive()
            self._is_built = True

    def call(self, method: str, *arguments: object) -> Reply:
        """Call the object's method and wait for it.

        Raises:
            RuntimeError: with the worker's traceback where the call failed, the worker died, or it
                took longer than there was patience.
        """
        self.wait()
        self._pipe.send((method, arguments))
        return self._receive()

    def _receive(self) -> Reply:
        try:
            if not self._pipe.poll(self._patience):
                self._process.kill()
                raise RuntimeError(f"the worker gave no answer within {self._patience:g} s")
            answer = self._pipe.recv()
        except EOFError:
            self._process.join()
            raise RuntimeError(f"the worker died (exit {self._process.exitcode})") from None
        if isinstance(answer, Reply):
            return answer
        raise RuntimeError(f"the worker failed:\n{answer}")

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(timeout=10)
        if self._process.is_alive():
            self._process.terminate()


def _serve(pipe: Connection, make: Callable[[], object], threads: int) -> None:
    """Answer calls until the pipe is closed."""
    torch.set_num_threads(threads)
    target: object = None
    method, arguments = "", ()
    while True:
        began, cpu_began = time.perf_counter(), time.process_time()
        try:
            # The first answer tells that the object was built.
            value = getattr(target, method)(*arguments) if method else None
            if not method:
                target = make()
            answer: Reply | str = Reply(
                value=value,
                seconds=time.perf_counter() - began,
                cpu_seconds=time.process_time() - cpu_began,
            )
        except Exception:  # noqa: BLE001 - whatever it is, the parent raises it
            answer = traceback.format_exc()
        try:
            pipe.send(answer)
            method, arguments = pipe.recv()
        except (EOFError, ConnectionError, KeyboardInterrupt):
            return


def turns(names: Sequence[str], rounds: int) -> list[tuple[int, str]]:
    """Whose turn it is: A B C, C B A, A B C …, each with its round, counted from 1.

    >>> turns(["a", "b"], 2)
    [(1, 'a'), (1, 'b'), (2, 'b'), (2, 'a')]
    """
    order = []
    for number in range(1, rounds + 1):
        order += [(number, name) for name in (names if number % 2 else reversed(names))]
    return order


def spread(values: Sequence[float]) -> dict[str, float]:
    """Smallest, middle and largest of some rounds."""
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def ratio_of_medians(
    ours: Sequence[float], theirs: Sequence[float], *, paired: bool = True
) -> dict[str, Any]:
    """How many times as large ours is, with a 95 % bootstrap interval.

    Args:
        ours: a value for each round.
        theirs: the same of another.
        paired: whether rounds are drawn in pairs: the two of one round were measured next to
            each other, so that a slow minute of the machine strikes both. Where they were not,
            as in two results of different days, each is drawn for itself.
    """
    ours_R, theirs_R = np.asarray(ours), np.asarray(theirs)
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(ours_R), (RESAMPLES, len(ours_R)))
    others = drawn if paired else rng.integers(0, len(theirs_R), (RESAMPLES, len(theirs_R)))
    ratios = np.median(ours_R[drawn], axis=1) / np.median(theirs_R[others], axis=1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return {
        "ratio": float(np.median(ours_R) / np.median(theirs_R)),
        "interval": [float(low), float(high)],
        "rounds": len(ours_R),
    }


# Of a product that takes milliseconds at most, even where it is emulated.
_SMALL_SIDE = 256


def measure_limits(*, threads: int, quick: bool) -> dict[str, Any]:
    """What the machine can do at best, to stand beside what was reached.

    A copy counts each byte once as read and once as written. A precision that the processor has no
    arithmetic for, so that a large product would take minutes, is measured on a small one.

    Args:
        threads: with how many, beside 1 and 2.
        quick: measure less often, and products of side 2048 only.

    Returns:
        ``gemm_tflops`` (TFLOP/s by precision, side and threads) and ``copy_gb_per_s`` (by
        threads).
    """
    sides, repeats = ((2048,), 2) if quick else ((2048, 4096), 5)
    before = torch.get_num_threads()
    gemm: dict[str, dict[str, dict[str, float]]] = {}
    copy: dict[str, float] = {}
    for number in sorted({1, min(2, inspect_machine().cpus), threads}):
        torch.set_num_threads(number)
        for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
            for side in (_SMALL_SIDE,) if is_emulated(dtype) else sides:
                speed = 2 * side**3 / _best_seconds(_product(side, dtype), repeats) / 1e12
                gemm.setdefault(name, {}).setdefault(str(side), {})[str(number)] = speed
        source = torch.ones(2**26)
        target = torch.empty_like(source)
        seconds = _best_seconds(partial(target.copy_, source), repeats)
        copy[str(number)] = 2 * source.nbytes / seconds / 1e9
    torch.set_num_threads(before)
    return {"gemm_tflops": gemm, "copy_gb_per_s": copy}


def _best_seconds(work: Callable[[], object], repeats: int) -> float:
    """Of the fastest repetition, after one to warm up."""
    work()
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def is_emulated(dtype: torch.dtype) -> bool:
    """Whether matrix products in that precision take more than ten times those in fp32.

    So it is where the processor has no arithmetic for it. Single threads are compared, so that the
    answer does not depend on how many there are.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        taken, usual = (
            _best_seconds(_product(_SMALL_SIDE, each), repeats=3) for each in (dtype, torch.float32)
        )
    finally:
        torch.set_num_threads(before)
    return taken > 10 * usual


def _product(side: int, dtype: torch.dtype) -> Callable[[], object]:
    left = torch.randn(side, side).to(dtype)
    right = torch.randn(side, side).to(dtype)
    out = torch.empty(side, side, dtype=dtype)
    return partial(torch.mm, left, right, out=out)


def best_limits(measured: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The largest of each figure over several results of ``measure_limits``."""
    first = measured[0]
    best: dict[str, Any] = {}
    for key, value in first.items():
        others = [m[key] for m in measured]
        best[key] = best_limits(others) if isinstance(value, Mapping) else max(others)
    return best


def peak_flops(limits: Mapping[str, Any], threads: int) -> float:
    """FLOP/s of the best matrix product with that many threads, whatever its precision and side."""
    best: float = max(
        by_threads[str(threads)]
        for by_side in limits["gemm_tflops"].values()
        for by_threads in by_side.values()
    )
    return best * 1e12


def peak_bytes(*, reset: bool = False) -> int:
    """The most memory that this process has held so far, or since the last reset (Linux)."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    found = memory.peak_bytes()
    assert found is not None
    return found


def trim_memory() -> None:
    """Let glibc give back what it keeps of freed memory; elsewhere nothing is done."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)


def describe_machine() -> dict[str, Any]:
    """Versions, commit and machine, as runs record them, and how busy the machine was."""
    description = describe_environment()
    description["command"] = without_paths(sys.argv)
    if hasattr(os, "getloadavg"):
        description["load_average"] = os.getloadavg()[0]
    return description
