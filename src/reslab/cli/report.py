"""``reslab report``: pictures and page of runs, drawn anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from reslab.cli.arguments import Json
from reslab.cli.output import print_json, print_line
from reslab.errors import UserError
from reslab.runs.folder import REPORT
from reslab.workbench.stored import open_run

app = App(
    name="report",
    help_format="plaintext",
    help_epilogue="Example: reslab report runs/digits-resnet14-20260101-120000",
)


@app.default
def report(
    *runs: Annotated[Path, Parameter(help="folders of runs")],
    json: Json = False,
) -> None:
    """Draw the pictures and the page of runs anew, from what their folders hold."""
    if not runs:
        raise UserError("there is no run to report", remedy="give a run's folder")
    for path in runs:
        open_run(path)
    # Only now, so that a mistake is told without waiting for torch.
    from reslab.workbench.reporting import draw_run
    from reslab.workbench.run import load_run

    loaded = [load_run(path) for path in runs]
    for run in loaded:
        draw_run(run)
    pages = [str(run.path / REPORT) for run in loaded]
    if json:
        print_json({"reports": pages})
    else:
        for page in pages:
            print_line(page)
