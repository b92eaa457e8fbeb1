"""What commands print: one JSON object, or lines and tables for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from reslab.runs.folder import HISTORY
from reslab.wording import one_line, resume_command

if TYPE_CHECKING:
    from reslab.workbench.stored import StoredRun


def print_json(document: Mapping[str, Any]) -> None:
    """One JSON object on standard output, and nothing else."""
    sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")


def print_line(text: str) -> None:
    """A line on standard output, never wrapped or coloured."""
    sys.stdout.write(text + "\n")


def tell(text: str) -> None:
    """A line about what is going on, on standard error."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def warn(text: str) -> None:
    """A warning on standard error."""
    sys.stderr.write(f"reslab: warning: {one_line(text)}\n")


def warn_of_end(run: StoredRun) -> None:
    """A warning where a run did not reach its end, whatever is done with it."""
    status = run.status
    if status == "finished":
        return
    epochs = len(run.history) if run.folder.has(HISTORY) else 0
    rest = "" if status == "running" else f"; go on with {resume_command(run.path)}"
    warn(f"{run.path} is {status}, with {epochs} of {run.spec.training.epochs} epochs made{rest}")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on standard output; columns whose cells are all numbers are set to the right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for i, name in enumerate(columns):
        cells = [row[i] for row in rows if row[i] not in ("", "-")]
        numeric = bool(cells) and all(cell[:1].isdigit() for cell in cells)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console = Console(markup=False, highlight=False)
    # Where nobody looks at a screen, lines must not be cut to the width of one.
    if not console.is_terminal:
        console.width = 200
    console.print(table)


def percent(fraction: float) -> str:
    """A fraction as a percentage with two decimals, ``99.47 %``."""
    return f"{100 * fraction:.2f} %"


def accuracy(metrics: Mapping[str, Any]) -> str:
    """Accuracy with its interval and n, from metrics as JSON has them."""
    low, high = metrics["top1_interval"]
    return (
        f"{percent(metrics['top1'])} (95 % interval {100 * low:.2f} to {100 * high:.2f}, "
        f"n = {metrics['n']:,})"
    )


def known(document: Mapping[str, Any]) -> str:
    """What a threshold accepts and how much of it is right, from JSON as calibration has it."""
    if document["accepted_top1"] is None:
        return "no image is accepted"
    low, high = document["accepted_top1_interval"]
    return (
        f"{percent(document['coverage'])} are accepted, {percent(document['accepted_top1'])} of "
        f"them right (95 % interval {100 * low:.2f} to {100 * high:.2f}, "
        f"n = {document['accepted']:,})"
    )
