"""How fast are images classified, and what does reslab's choice of an engine lose to the best?

    python benchmarks/inference.py --nets resnet20 resnet18 --batches 1 8 --out found.json

The whole call is timed, from uint8 images to probabilities, with random weights. Contenders work in
turns (A B C, C B A, …), each in a process of its own: torch, inductor, ONNX Runtime and OpenVINO as
their users would write them, and reslab with the engine that it chose by measuring. Each net and
batch is a piece of its own; ``--add`` puts pieces of several calls into one file.

With ``openvino-int8`` among ``--contenders`` int8 is measured too, each against its own kind:
reslab's against NNCF's and OpenVINO's as their guide has it. Both are quantised on random images,
which tells speed alone.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from inference_peers import INT8_PEERS, PEERS, Work
from measure import Worker, describe_machine, measure_limits, ratio_of_medians, spread, turns
from reslab.inference.catalog import INT8

# Nets and the sides of their images.
NETS = {"resnet20": 32, "resnet18": 224, "resnet50": 224}
OURS = "reslab"
OURS_INT8 = f"{OURS}-int8"
# A round is at least this long, so that the clock and the turn of the process do not matter.
ROUND_SECONDS = 0.3


def say(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


def prepare_all(workers: Mapping[str, Worker]) -> dict[str, dict[str, Any]]:
    """Each contender made ready, one after the other, and how many calls make a round."""
    found: dict[str, dict[str, Any]] = {}
    for name, worker in workers.items():
        reply = worker.call("prepare")
        warm = worker.call("run_calls", 3).value / 3
        found[name] = {
            "prepare_seconds": reply.seconds,
            "facts": reply.value,
            "calls": max(1, math.ceil(ROUND_SECONDS / warm)),
            "seconds": [],
        }
        say(f"  {name}: {reply.seconds:.1f} s to prepare, about {1e3 * warm:.2f} ms a call")
    return found


def measure_piece(
    work: Work, names: list[str], *, rounds: int, engine: str, engines: bool
) -> dict[str, Any]:
    """One net with one size of batch."""
    say(f"{work.net}, {work.size}², batch {work.batch}")
    with ExitStack() as stack:
        # What other runs remembered is left out of account, and they learn nothing of this one.
        cache = stack.enter_context(tempfile.TemporaryDirectory())
        makers: dict[str, Callable[[], object]] = {
            name: partial(PEERS[name], work) for name in names if name != OURS
        }
        makers[OURS] = partial(Ours, work, engine)
        if not set(INT8_PEERS).isdisjoint(names):
            makers[OURS_INT8] = partial(Ours, work, INT8)
        if engines:
            makers |= {f"{OURS}:{name}": partial(Ours, work, name) for name in usable_engines()}
        workers = {
            name: stack.enter_context(
                Worker(make, threads=work.threads, environment={"XDG_CACHE_HOME": cache})
            )
            for name, make in makers.items()
        }
        for worker in workers.values():
            worker.wait()
        found = prepare_all(workers)
        expected = work.expected()
        for name, worker in workers.items():
            probabilities = worker.call("probabilities").value
            found[name]["largest_gap"] = float(np.abs(probabilities - expected).max())
        for _, name in turns(list(workers), rounds):
            calls = found[name]["calls"]
            found[name]["seconds"].append(workers[name].call("run_calls", calls).value / calls)
    for contender in found.values():
        contender["milliseconds"] = spread([1e3 * s for s in contender["seconds"]])
    others = [name for name in found if name != OURS]
    ours = found[OURS]["seconds"]
    int8 = [name for name in found if name in (*INT8_PEERS, OURS_INT8)]
    piece = {
        **asdict(work),
        "rounds": rounds,
        "contenders": found,
        **compare(OURS, {name: found[name] for name in found if name not in int8}),
        "ratios": {f"{n}/{OURS}": ratio_of_medians(found[n]["seconds"], ours) for n in others},
    }
    if int8:
        piece["int8"] = compare(OURS_INT8, {name: found[name] for name in int8})
    return piece


def compare(ours: str, kind: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The best of one kind, and how much longer than that reslab takes."""
    best = min(kind, key=lambda name: statistics.median(kind[name]["seconds"]))
    return {
        "best": best,
        "regret": ratio_of_medians(kind[ours]["seconds"], kind[best]["seconds"]),
    }


def usable_engines() -> list[str]:
    """Names of reslab's engines in fp32 or bf16 that can be used here."""
    from reslab.engine.machine import inspect_machine  # noqa: PLC0415 - only where asked for
    from reslab.inference.catalog import ENGINES, obstacle_to  # noqa: PLC0415

    features = inspect_machine().features
    return [
        e.name for e in ENGINES if e.precision != "int8" and obstacle_to(e, "cpu", features) is None
    ]


@dataclass
class Ours:
    """reslab: a session as ``Run.predict`` opens it, with the engine that was asked for."""

    work: Work
    engine: str

    def prepare(self) -> dict[str, Any]:
        """Let the session prepare, or measure and choose; tells what it chose and told."""
        from reslab.data.normalise import Normaliser  # noqa: PLC0415 - in the worker only
        from reslab.engine.runtime import Runtime  # noqa: PLC0415
        from reslab.inference.int8 import Quantized  # noqa: PLC0415
        from reslab.inference.nncf import WAYS, quantize  # noqa: PLC0415
        from reslab.inference.offer import nothing_stored  # noqa: PLC0415
        from reslab.inference.session import Session  # noqa: PLC0415

        told: list[str] = []
        runtime = Runtime(threads=self.work.threads)
        normaliser = Normaliser(self.work.mean, self.work.sd)
        self._pixels_NCHW = self.work.pixels()

        def quantized() -> Quantized:
            return Quantized(*quantize(self.work.model(), self._pixels_NCHW, normaliser, WAYS[0]))

        self._session = Session(
            runtime.place_model(self.work.model()),
            normaliser,
            runtime,
            quantized=quantized if self.engine == INT8 else nothing_stored,
            engine=self.engine,
            batch_size=self.work.batch,
            warn=told.append,
            tell=told.append,
        )
        self.probabilities()
        return {"engine": self._session.engine, "told": told}

    def probabilities(self) -> npt.NDArray[np.float64]:
        """Of the images (N, K)."""
        from reslab.evaluation.calibration import to_probabilities  # noqa: PLC0415

        return to_probabilities(self._session.outputs(self._pixels_NCHW))

    def run_calls(self, calls: int) -> float:
        """Seconds of so many calls."""
        began = time.perf_counter()
        for _ in range(calls):
            self.probabilities()
        return time.perf_counter() - began


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Run the protocol, piece by piece, each with its machine and what that could do."""
    # Pieces of several calls may come together in one file.
    made = {
        "environment": describe_machine(),
        "limits": measure_limits(threads=options.threads, quick=True),
    }
    for net in dict.fromkeys(options.nets):
        for batch in dict.fromkeys(options.batches):
            piece = measure_piece(
                Work(net=net, size=options.size or NETS[net], batch=batch, threads=options.threads),
                list(dict.fromkeys(options.contenders)),
                rounds=options.rounds,
                engine=options.engine,
                engines=options.engines,
            )
            yield {**piece, **made}


def document_of(pieces: list[dict[str, Any]]) -> dict[str, Any]:
    """What is written."""
    return {
        "benchmark": "inference",
        "protocol": {
            "call": "uint8 images to probabilities, random weights",
            "order": "A B C, C B A, …; one process a contender",
        },
        "pieces": pieces,
    }


def format_table(found: Mapping[str, Any]) -> str:
    """The findings as a table in Markdown: milliseconds a call, medians over rounds."""
    names = list(dict.fromkeys(name for p in found["pieces"] for name in p["contenders"]))
    lines = [
        f"| net | image | batch | {' | '.join(names)} | reslab's engine | reslab / best (95 %) |",
        "|" + "---|" * (len(names) + 5),
    ]
    for piece in found["pieces"]:
        contenders, regret = piece["contenders"], piece["regret"]
        cells = [
            f"{contenders[name]['milliseconds']['median']:.2f}" if name in contenders else ""
            for name in names
        ]
        low, high = regret["interval"]
        lines.append(
            f"| {piece['net']} | {piece['size']}² | {piece['batch']} | {' | '.join(cells)} | "
            f"{contenders[OURS]['facts']['engine']} | {regret['ratio']:.3f} of {piece['best']} "
            f"({low:.3f} to {high:.3f}) |"
        )
    for piece in (piece for piece in found["pieces"] if "int8" in piece):
        regret = piece["int8"]["regret"]
        low, high = regret["interval"]
        lines += [
            "",
            f"In int8, {piece['net']} at batch {piece['batch']}: {OURS_INT8} / best (95 %) "
            f"{regret['ratio']:.3f} of {piece['int8']['best']} ({low:.3f} to {high:.3f}).",
        ]
    return "\n".join(lines)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8, 64])
    parser.add_argument("--size", type=int, help="side of the images; default: the net's usual")
    parser.add_argument("--rounds", type=int, default=7, help="after one to warm up")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument(
        "--contenders",
        nargs="+",
        choices=list(PEERS),
        default=[name for name in PEERS if name not in INT8_PEERS],
        help="beside reslab (default: those in fp32)",
    )
    parser.add_argument("--engine", default="measure", help="reslab's (default %(default)s)")
    parser.add_argument(
        "--engines", action="store_true", help="each engine of reslab by itself too"
    )
    parser.add_argument("--json", action="store_true", help="print JSON only")
    parser.add_argument("--out", type=Path, help="file for the JSON")
    parser.add_argument("--add", action="store_true", help="add the pieces to those in the file")
    return parser.parse_args(arguments)


def main() -> int:
    """Measure and print."""
    options = parse()
    pieces = []
    if options.add and options.out is not None and options.out.exists():
        pieces = json.loads(options.out.read_text())["pieces"]
    for piece in measure(options):
        pieces.append(piece)
        if options.out is not None:
            options.out.write_text(json.dumps(document_of(pieces), indent=2) + "\n")
    found = document_of(pieces)
    print(json.dumps(found, indent=2) if options.json else format_table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
