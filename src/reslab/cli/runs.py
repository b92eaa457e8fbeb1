"""``reslab runs``: what was trained, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from reslab.cli.arguments import Json
from reslab.cli.output import percent, print_json, print_line, print_table, warn
from reslab.errors import UserError

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
    rows = sorted((r for r in found if r), key=lambda r: -(r["top1"] or 0.0))
    if json:
        print_json({"runs": rows})
    elif not rows:
        print_line(f"no runs in {folder}")
    else:
        _print_rows(rows)


def _print_rows(rows: list[dict[str, Any]]) -> None:
    print_table(
        (
            "run",
            "data",
            "model",
            "recipe",
            "seed",
            "epochs",
            "time",
            "test accuracy",
            "interval",
        ),
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
            )
            for r in rows
        ],
    )


def _describe(path: Path) -> dict[str, Any] | None:
    from reslab.workbench.run import load_run

    try:
        run = load_run(path)
        spec, metrics = run.spec, run.metrics
    except UserError as error:
        warn(str(error))
        return None
    best = metrics.get("test", {}).get("best", {})
    return {
        "run": str(path),
        "data": spec.data.name,
        "model": spec.model.name,
        "recipe": spec.recipe,
        "seed": spec.seeds.base,
        "status": metrics.get("status", "unfinished"),
        "epochs": metrics.get("epochs", 0),
        "train_seconds": metrics.get("train_seconds"),
        "top1": best.get("top1"),
        "top1_interval": best.get("top1_interval"),
    }
