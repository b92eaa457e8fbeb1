"""A race: contenders in processes of their own take turns; those that fail fall out.

What a contender offers: ``prepare()`` chooses and compiles and tells what it is, as a mapping
with ``batch_size``, ``precision``, ``memory_format`` and ``compile``; ``run_round(number)`` works
and gives a ``Round``. One that says so has ``wake()`` too, which is called before each round and
not timed, and ``rest()``, called after it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from measure import Worker, peak_flops, ratio_of_medians, spread, turns

# glibc's own switches for what reslab's engine asks of it through mallopt.
KEEP_FREED = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}


@dataclass(frozen=True, kw_only=True)
class Round:
    """What a round came to, the same for all contenders."""

    images: int
    steps: int
    loss: float
    memory_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Entrant:
    """A contender of a race.

    Attributes:
        make: builds it in its process; must be picklable.
        what: what it is, for the record.
        environment: further environment variables of its process.
        rests: whether it is woken before and put to rest after each round.
        has_children: whether it starts processes itself.
    """

    make: Callable[[], object]
    what: str
    environment: Mapping[str, str] = field(default_factory=dict)
    rests: bool = False
    has_children: bool = False


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a race gave.

    Attributes:
        contenders: those that made all rounds, in their order; see ``add_figures``.
        failed: the others: at which stage, and why.
    """

    contenders: dict[str, dict[str, Any]]
    failed: dict[str, dict[str, str]]


def say(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


def race(
    entrants: Mapping[str, Entrant], *, threads: int, rounds: int, patience: float | None = None
) -> Outcome:
    """One round to warm up, then the rounds that count, in turns (A B C, C B A, …).

    Args:
        entrants: by name, in their order.
        threads: of each.
        rounds: that count.
        patience: seconds after which a contender that gives no answer falls out.
    """
    found: dict[str, dict[str, Any]] = {}
    failed: dict[str, dict[str, str]] = {}
    workers: dict[str, Worker] = {}

    def attempt(name: str, stage: str, work: Callable[[Worker], Any]) -> Any:
        """What the work gives; None where it failed, after which the contender is out."""
        try:
            return work(workers[name])
        except RuntimeError as error:
            say(f"{name} failed ({stage}): {last_line(error)}")
            failed[name] = {"stage": stage, "error": last_line(error), "traceback": str(error)}
            found.pop(name, None)
            workers.pop(name).__exit__()
            return None

    with ExitStack() as stack:
        for name, entrant in entrants.items():
            worker = Worker(
                entrant.make,
                threads=threads,
                environment=entrant.environment,
                patience=patience,
                has_children=entrant.has_children,
            )
            workers[name] = stack.enter_context(worker)
        for name in entrants:
            attempt(name, "build", Worker.wait)
        for name in list(workers):
            chosen = attempt(name, "prepare", lambda worker: worker.call("prepare").value)
            if chosen is None:
                continue
            rests = entrants[name].rests
            warm_up = attempt(name, "warm-up", partial(_round, number=0, rests=rests))
            if warm_up is None:
                continue
            found[name] = {
                "what": entrants[name].what,
                **chosen,
                "warm_up_seconds": warm_up["seconds"],
                "images_in_warm_up": warm_up["images"],
                "steps_in_warm_up": warm_up["steps"],
                "rounds": [],
            }
            say(f"warm-up: {name} {warm_up['seconds']:.1f} s")
        for number, name in turns(list(found), rounds):
            if name not in workers:
                continue
            rests = entrants[name].rests
            entry = attempt(name, f"round {number}", partial(_round, number=number, rests=rests))
            if entry is not None:
                found[name]["rounds"].append(entry)
                say(f"round {number}: {name} {entry['images_per_second']:.4g} images/s")
    return Outcome(contenders=found, failed=failed)


def _round(worker: Worker, *, number: int, rests: bool) -> dict[str, Any]:
    if rests:
        worker.call("wake")
    reply = worker.call("run_round", number)
    if rests:
        worker.call("rest")
    return {
        "images_per_second": reply.value.images / reply.seconds,
        "images": reply.value.images,
        "steps": reply.value.steps,
        "seconds": reply.seconds,
        "cpu_seconds": reply.cpu_seconds,
        "loss": reply.value.loss,
        **({} if reply.value.memory_bytes is None else {"memory_bytes": reply.value.memory_bytes}),
    }


def last_line(error: BaseException) -> str:
    """The line of a worker's traceback that says what went wrong."""
    return str(error).strip().splitlines()[-1][:300]


def add_figures(
    contenders: Mapping[str, dict[str, Any]],
    *,
    macs: int,
    limits: Mapping[str, Any],
    threads: int,
    training_images: int | None = None,
) -> None:
    """Sum each contender's rounds up, in place.

    MFU is 6 x multiply-adds x images/s over the best matrix product of any precision; a
    contender whose net has other multiply-adds says so in ``macs``.

    Args:
        contenders: of a race.
        macs: multiply-adds of the net for one image.
        limits: see ``measure.measure_limits``.
        threads: of each contender.
        training_images: that the cost of starting (compilation, first step) is spread over; None
            leaves that out.
    """
    peak = peak_flops(limits, threads)
    for contender in contenders.values():
        rounds = contender["rounds"]
        contender["images_per_second"] = spread([r["images_per_second"] for r in rounds])
        contender["cpus_used"] = spread([r["cpu_seconds"] / r["seconds"] for r in rounds])
        median = contender["images_per_second"]["median"]
        contender["mfu"] = 6 * contender.get("macs", macs) * median / peak
        if training_images is not None:
            start = max(0.0, contender["first_step_seconds"] - contender["batch_size"] / median)
            contender["start_seconds"] = start
            contender["images_per_second_with_start"] = [
                training_images / (training_images / r["images_per_second"] + start) for r in rounds
            ]


def best_of(contenders: Mapping[str, Mapping[str, Any]], prefix: str) -> str | None:
    """Of those whose name begins so, the one with the highest median."""
    names = [name for name in contenders if name.startswith(prefix)]
    speed = {name: contenders[name]["images_per_second"]["median"] for name in names}
    return max(names, key=lambda name: speed[name], default=None)


def ratios_to(
    ours: str, contenders: Mapping[str, Mapping[str, Any]], *, others: Sequence[str] | None = None
) -> dict[str, Any]:
    """Ratios of the medians of ours to each other's, with intervals; none where ours fell out."""
    if ours not in contenders:
        return {}
    speeds = {
        name: [r["images_per_second"] for r in contender["rounds"]]
        for name, contender in contenders.items()
    }
    return {
        f"{ours}/{other}": ratio_of_medians(speeds[ours], speeds[other])
        for other in (contenders if others is None else others)
        if other != ours
    }
