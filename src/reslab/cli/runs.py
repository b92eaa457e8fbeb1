"""``reslab runs``: what was trained, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from reslab.cli.arguments import Json
from reslab.cli.output import percent, print_json, print_line, print_table, warn
from reslab.errors import UserError

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
    from reslab.runs.folder import SPEC

    try:
        there = folder.is_dir()
    except OSError:
        there = False
    if not there:
        raise UserError(
            f"there is no folder {folder}",
            remedy="`reslab train` makes it, or give the folder that holds your runs",
        )
    found = [_describe(path.parent) for path in sorted(folder.glob(f"*/{SPEC}"))]
    _mark_differences([r for r in found if r])
    rows = sorted((r for r in found if r), key=lambda r: -(r["top1"] or 0.0))
    if json:
        print_json({"runs": rows})
    elif not rows:
        print_line(f"no runs in {folder}")
    else:
        _print_rows(rows)


def _print_rows(rows: list[dict[str, Any]]) -> None:
    print_table(
        ("run", "data", "model", "recipe", "seed", "epochs", "time", "best", "interval", "last"),
        [
            (
                r["run"],
                r["data"],
                r["model"],
                r["recipe"],
                str(r["seed"]),
                str(r["epochs"]),
                "-" if r["train_seconds"] is None else f"{r['train_seconds']:.0f} s",
                r["status"] if r["top1"] is None else percent(r["top1"]),
                ""
                if r["top1"] is None
                else f"{100 * r['top1_interval'][0]:.2f} to {100 * r['top1_interval'][1]:.2f}",
                "" if r["last_top1"] is None else percent(r["last_top1"]),
            )
            for r in rows
        ],
    )
    if any(r["settings"] for r in rows):
        print_line("\nwhere their settings differ:")
        for r in rows:
            print_line(f"  {r['run']}: " + ", ".join(f"{k}={v}" for k, v in r["settings"].items()))


def _mark_differences(rows: list[dict[str, Any]]) -> None:
    """Leave in each row's ``settings`` only those in which the runs differ."""
    names = {name for row in rows for name in row["settings"]}
    for name in names:
        values = [row["settings"].get(name) for row in rows]
        if all(value == values[0] for value in values):
            for row in rows:
                row["settings"].pop(name, None)


def _flatten(section: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} as {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for key, value in section.items():
        inner = isinstance(value, dict)
        flat |= _flatten(value, f"{prefix}{key}.") if inner else {prefix + key: value}
    return flat


def _describe(path: Path) -> dict[str, Any] | None:
    from reslab.workbench.run import load_run

    try:
        run = load_run(path)
        spec, metrics = run.spec, run.metrics
    except UserError as error:
        warn(str(error))
        return None
    test = metrics.get("test", {})
    best = test.get("best", {})
    settings = _flatten(spec.model_dump(mode="json", exclude={"facts", "format", "seeds"}))
    return {
        "run": str(path),
        "data": spec.data.name,
        "model": spec.model.name,
        "recipe": spec.recipe,
        "seed": spec.seeds.base,
        "settings": {k: v for k, v in settings.items() if k not in OWN_COLUMN},
        "status": metrics.get("status", "unfinished"),
        "epochs": metrics.get("epochs", 0),
        "train_seconds": metrics.get("train_seconds"),
        "top1": best.get("top1"),
        "top1_interval": best.get("top1_interval"),
        "last_top1": test.get("last", {}).get("top1"),
    }
