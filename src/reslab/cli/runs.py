"""``reslab runs``: what was trained, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from json import dumps
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from reslab.cli.arguments import Json
from reslab.cli.output import percent, print_json, print_line, print_table, warn
from reslab.errors import UserError
from reslab.runs.files import is_leftover
from reslab.runs.folder import FOLDS, HISTORY, SPEC
from reslab.spec.text import flatten
from reslab.wording import quoted
from reslab.workbench.folds import open_folds
from reslab.workbench.stored import open_run

# Settings that the table shows in a column.
OWN_COLUMN = ("recipe", "data.name", "data.root", "model.name", "training.epochs")

app = App(
    name="runs",
    help_format="plaintext",
    help_epilogue="Example: reslab runs",
)


@app.default
def runs(
    folder: Annotated[Path, Parameter(help="where the runs' folders are")] = Path("runs"),
    /,
    *,
    json: Json = False,
) -> None:
    """List and compare runs, the best first."""
    try:
        there = folder.is_dir()
    except OSError:
        there = False
    if not there:
        raise UserError(
            f"there is no folder {folder}",
            remedy="`reslab train` makes it, or give the folder that holds your runs",
        )
    if (folder / SPEC).is_file():
        raise UserError(
            f"{folder} is a run itself",
            expected="the folder that holds runs",
            remedy=f"`reslab runs {quoted(folder.absolute().parent)}` lists it with its neighbours",
        )
    found = [
        describe(path.parent)
        for name, describe in ((SPEC, _describe), (FOLDS, _describe_folds))
        for path in sorted(folder.glob(f"*/{name}"))
        if not is_leftover(path.parent)
    ]
    # Those of a cross-validation stand with its folds.
    _mark_differences([r for r in found if r and r["settings"]])
    rows = sorted((r for r in found if r), key=lambda r: -(r["top1"] or 0.0))
    if json:
        print_json({"runs": rows})
    elif not rows:
        print_line(f"no runs in {folder}")
    else:
        _print_rows(rows)


def _print_rows(rows: list[dict[str, Any]]) -> None:
    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "run": lambda r: r["run"],
        "data": lambda r: r["data"],
        "model": lambda r: r["model"],
        "recipe": lambda r: r["recipe"],
        "seed": lambda r: str(r["seed"]),
        "status": lambda r: r["status"],
        "epochs": lambda r: str(r["epochs"]),
        "time": lambda r: "-" if r["train_seconds"] is None else f"{r['train_seconds']:.0f} s",
        "best": lambda r: "-" if r["top1"] is None else percent(r["top1"]),
        "interval": lambda r: "" if r["top1_interval"] is None else _ends(r["top1_interval"]),
        "last": lambda r: "" if r["last_top1"] is None else percent(r["last_top1"]),
        "scored on": lambda r: r["split"],
    }
    if all(r["split"] == "test" for r in rows):
        del columns["scored on"]
    if all(r["status"] == "finished" for r in rows):
        del columns["status"]
    print_table(tuple(columns), [tuple(cell(r) for cell in columns.values()) for r in rows])
    if any(r["settings"] for r in rows):
        print_line("\nwhere their settings differ:")
        for r in rows:
            told = (f"{key}={dumps(value)}" for key, value in r["settings"].items())
            print_line(f"  {r['run']}: " + ", ".join(told))


def _ends(interval: Sequence[float]) -> str:
    return f"{100 * interval[0]:.2f} to {100 * interval[1]:.2f}"


def _mark_differences(rows: list[dict[str, Any]]) -> None:
    """Leave in each row's ``settings`` only those in which the runs differ."""
    names = {name for row in rows for name in row["settings"]}
    for name in names:
        values = [row["settings"].get(name) for row in rows]
        if all(value == values[0] for value in values):
            for row in rows:
                row["settings"].pop(name, None)


def _describe(path: Path) -> dict[str, Any] | None:
    try:
        run = open_run(path)
        spec, metrics, status = run.spec, run.metrics, run.status
        epochs = metrics.get("epochs")
        if epochs is None:
            epochs = len(run.history) if run.folder.has(HISTORY) else 0
    except UserError as error:
        warn(str(error))
        return None
    test = metrics.get(run.own_split, {})
    best = test.get("best", {})
    settings = flatten(spec.model_dump(mode="json", exclude={"facts", "format", "seeds"}))
    return {
        "run": str(path),
        "data": spec.data.name,
        "model": spec.model.name,
        "recipe": spec.recipe,
        "seed": spec.seeds.base,
        "settings": {k: v for k, v in settings.items() if k not in OWN_COLUMN},
        "status": status,
        "epochs": epochs,
        "train_seconds": metrics.get("train_seconds"),
        "split": run.own_split,
        "top1": best.get("top1"),
        "top1_interval": best.get("top1_interval"),
        "last_top1": test.get("last", {}).get("top1"),
    }


def _describe_folds(path: Path) -> dict[str, Any] | None:
    """A cross-validation by the mean of its folds."""
    try:
        found = open_folds(path)
        spec, summary = found.spec, found.summary if found.has_ended else {}
    except UserError as error:
        warn(str(error))
        return None
    scores = summary.get("scores", [])
    return {
        "run": str(path),
        "data": found.source["name"],
        "model": spec.model.name,
        "recipe": spec.recipe,
        "seed": spec.seeds.base,
        "settings": {},
        "status": found.status,
        "epochs": spec.training.epochs,
        "train_seconds": sum(score["seconds"] for score in scores) if scores else None,
        "split": f"mean of {spec.data.folds} folds",
        "top1": summary.get("top1_mean"),
        "top1_interval": None,
        "last_top1": None,
    }
