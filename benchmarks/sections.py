"""The sections of docs/performance.md: for each kind of result, a function from results to text.

A new kind is a function here and a line in ``SECTIONS``. It gets the results of its kind, oldest
first, and gives Markdown below a heading of the second level.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import train_step
import train_throughput
from accuracy_table import TARGETS, format_table, read_trainings
from inference import format_table as format_inference
from ingest import format_table as format_ingest
from measure import best_limits, peak_flops
from reslab.errors import UserError
from reslab.wording import counted
from tables import (
    contender_table,
    grid_lines,
    limits_table,
    machine_of,
    provenance,
    provenances,
    table,
)
from tricks import format_table as format_tricks

_NAME = re.compile(r"(?P<date>\d{4}-\d{2}-\d{2})-(?P<kind>[a-z0-9-]+)")


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A result that was read.

    Attributes:
        name: of the file, without its suffix.
        kind: what follows the date in it, such as ``train-step`` or ``train-step-resnet50``.
        document: what is in it; of JSON lines a list.
    """

    name: str
    kind: str
    document: Any


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page.

    Attributes:
        title: its heading.
        kind: of the results that it tells.
        about: what was measured, in a sentence or two.
        write: from the results, oldest first, to Markdown.
    """

    title: str
    kind: str
    about: str
    write: Callable[[Sequence[Loaded]], str]

    def takes(self, loaded: Loaded) -> bool:
        """Whether the result is of this kind, or a piece of one."""
        return loaded.kind == self.kind or loaded.kind.startswith(f"{self.kind}-")


def gather(folder: Path) -> list[Loaded]:
    """All results of a folder, by date and name.

    Raises:
        UserError: where one cannot be read or its name says neither date nor kind.
    """
    found = []
    for path in sorted(folder.glob("*.json*")):
        named = _NAME.fullmatch(path.stem)
        if named is None or path.suffix not in (".json", ".jsonl"):
            raise UserError(
                f"{path.name} is no name of a result",
                expected="such as 2026-11-22-train-step.json",
                remedy="rename it",
            )
        try:
            lines = path.suffix == ".jsonl"
            document = read_trainings(path) if lines else json.loads(path.read_text())
        except ValueError as error:
            raise UserError(f"{path.name} cannot be read", received=str(error)) from error
        found.append(Loaded(name=path.stem, kind=named["kind"], document=document))
    return found


def training_steps(results: Sequence[Loaded]) -> str:
    """Each case and machine by the newest result: an overview, then everything about it."""
    cases: dict[tuple[str, str], Mapping[str, Any]] = {}
    for loaded in results:
        for name, found in loaded.document["cases"].items():
            cases[name, machine_of(found["environment"])] = found
    rows = []
    for (name, machine), found in sorted(cases.items()):
        best, ours = found["best_of_grid"], found["contenders"].get(train_step.OURS)
        for other, contender in found["contenders"].items():
            if contender is ours or ours is None:
                continue
            told = found["ratios"][f"{train_step.OURS}/{other}"]
            low, high = told["interval"]
            rows.append(
                [
                    f"{name} on {machine}",
                    f"{other}{' (best of the grid)' if other == best else ''}",
                    f"{ours['images_per_second']['median']:.1f}",
                    f"{ours['mfu']:.1%}",
                    f"{contender['images_per_second']['median']:.1f}",
                    f"**{told['ratio']:.2f}** ({low:.2f} to {high:.2f})",
                ]
            )
    head = ["net", "against", "reslab, images/s", "MFU", "its images/s", "ratio"]
    details = [
        train_step.format_case(f"{name} on {machine}", found)
        for (name, machine), found in sorted(cases.items())
    ]
    return "\n\n".join([table(head, rows), *details])


def whole_epochs(results: Sequence[Loaded]) -> str:
    """The newest result."""
    found = results[-1].document
    peak = peak_flops(found["limits"], found["protocol"]["threads"])
    for contender in found["contenders"].values():
        # Older results have it over the peak of the contender's own precision.
        median = contender["images_per_second"]["median"]
        contender["mfu"] = 6 * found["work"]["macs"] * median / peak
    return "\n\n".join(
        [
            f"{train_throughput.describe_work(found)}.",
            contender_table(found),
            *grid_lines(found["contenders"]),
            limits_table(found["limits"]),
            provenance(found["environment"]),
        ]
    )


def times_to_accuracy(results: Sequence[Loaded]) -> str:
    """Each data set by the newest file that has it: files may be of different machines."""
    newest: dict[str, list[dict[str, Any]]] = {}
    for loaded in results:
        for data in dict.fromkeys(training["data"] for training in loaded.document):
            newest[data] = [t for t in loaded.document if t["data"] == data]
    parts = []
    for data, own in newest.items():
        parts += [f"### {data}", format_table(own, data, TARGETS.get(data, ()))]
        loads = [t["load_at_end"] for t in own if t["load_at_end"] is not None]
        if loads:
            parts.append(f"Load at the end of the trainings: {min(loads):.1f} to {max(loads):.1f}.")
        best = best_limits([training["limits"] for training in own])
        parts.append(limits_table(best))
        parts += provenances(training["environment"] for training in own)
    return "\n\n".join(parts)


def memory_by_depth(results: Sequence[Loaded]) -> str:
    """The newest result."""
    found = results[-1].document
    gib = 2**30
    rows = []
    for net, row in found["nets"].items():
        ways = row["ways"]
        peaks = [
            f"{ways[way]['peak_bytes']['median'] / gib:.2f}" if way in ways else "-"
            for way in ("keep", "reslab", "torch")
        ]
        kept = ways.get("keep")
        seconds = ways["reslab"]["seconds_per_step"]["median"]
        times = f"{seconds / kept['seconds_per_step']['median']:.2f}" if kept else "-"
        less = row["activation_bytes"] / ways["reslab"]["peak_bytes"]["median"]
        cells = [f"{row['activation_bytes'] / gib:.2f}", *peaks, f"{less:.1f}x", times]
        rows.append([net, f"{row['parameters']:,}", *cells])
    head = ["net", "parameters", "computed, GiB", "eager", "reslab", "checkpoint_sequential"]
    head += ["reslab below computed", "its time over eager's"]
    return "\n\n".join(
        [
            f"Batches of {found['batch_size']} at {found['image_size']}², {found['threads']} "
            f"threads, {found['rounds']} processes for each way.",
            table(head, rows),
            provenance(found["environment"]),
        ]
    )


def inference(results: Sequence[Loaded]) -> str:
    """Each net, batch and number of threads by the newest piece that has it, by threads."""
    newest = {
        (piece["threads"], piece["net"], piece["size"], piece["batch"]): piece
        for loaded in results
        for piece in loaded.document["pieces"]
    }
    parts = []
    for threads in sorted({key[0] for key in newest}, reverse=True):
        own = [piece for key, piece in newest.items() if key[0] == threads]
        parts += [
            f"With {counted(threads, 'thread')}:",
            format_inference({"pieces": own}),
            limits_table(best_limits([piece["limits"] for piece in own])),
            *provenances(piece["environment"] for piece in own),
        ]
    return "\n\n".join(parts)


def reading(results: Sequence[Loaded]) -> str:
    """The newest result of each machine."""
    newest = {machine_of(loaded.document["environment"]): loaded.document for loaded in results}
    parts = []
    for found in newest.values():
        work = found["work"]
        parts += [
            f"{work['images']:,} photographs of 500 x 375 pixels to batches of "
            f"{work['batch_size']} x {work['size']} x {work['size']}, "
            f"{counted(work['threads'], 'thread')}, {work['rounds']} rounds:",
            format_ingest(found),
            provenance(found["environment"]),
        ]
    return "\n\n".join(parts)


def parts_of_fast(results: Sequence[Loaded]) -> str:
    """Each data set by the newest file that has it."""
    newest = {loaded.document["data"]: loaded.document for loaded in results}
    parts = []
    for data, found in newest.items():
        trainings = found["trainings"]
        threads = sorted({training["threads"] for training in trainings})
        told = ", ".join(found["settings"]) or "the recipe's own settings"
        parts += [
            f"On {data}, judged on {found['validation']:,} of the training images that were not "
            f"trained on; {told}, {' or '.join(map(str, threads))} threads.",
            format_tricks(found),
            *provenances(training["environment"] for training in trainings),
        ]
    return "\n\n".join(parts)


SECTIONS = (
    Section(
        title="A training step",
        kind="train-step",
        about="From uint8 images in memory to the updated net. The grid is torch's own: eager or "
        "compiled, fp32 or bf16 autocast, contiguous or channels_last, with a fused optimiser; its "
        "fastest cell is found by trial and then measured as the others are.",
        write=training_steps,
    ),
    Section(
        title="A whole epoch, data included",
        kind="train-throughput",
        about="Augmentation from images in memory, training and update.",
        write=whole_epochs,
    ),
    Section(
        title="Reading photographs",
        kind="ingest",
        about="From JPEG files to normalised batches: random parts, scaled and mirrored. Memory is "
        "what the process and its workers hold of their own.",
        write=reading,
    ),
    Section(
        title="Time to accuracy",
        kind="time-to-accuracy",
        about="Seconds of training, start and compilation included, until the end of the first "
        "epoch with that accuracy on the test images. Testing is not counted, and nothing is "
        "chosen by it. A contender that never gets there counts with the time to its best epoch; "
        "its ratio is then too small.",
        write=times_to_accuracy,
    ),
    Section(
        title="The recipe fast, part by part",
        kind="tricks",
        about="Accuracy of the last weights on validation images, by which the recipe was chosen, "
        "and what it changes to leave out a part or to add one: means over seeds, differences seed "
        "by seed with a t interval. Times are of trainings one after the other, not in turns.",
        write=parts_of_fast,
    ),
    Section(
        title="Classifying images",
        kind="inference",
        about="Milliseconds of a whole call, from uint8 images to probabilities, medians over "
        "rounds in turns. The last column holds reslab's time over that of the fastest contender "
        "of its kind, which is what is lost by the choice of an engine and by all around it.",
        write=inference,
    ),
    Section(
        title="Memory by depth",
        kind="memory-depth",
        about="Peak of resident memory above the idle process. Computed: activations in fp32.",
        write=memory_by_depth,
    ),
)
