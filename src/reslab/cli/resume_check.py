"""``reslab resume-check``: proves for given settings that resuming changes no bit."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from reslab.cli.arguments import Json
from reslab.cli.asked import Asked
from reslab.cli.output import print_json, print_line, tell
from reslab.errors import ReslabError, UserError
from reslab.workbench.stored import open_run

app = App(
    name="resume-check",
    help_format="plaintext",
    help_epilogue="Example: reslab resume-check --recipe paper --set model.dropout=0.2",
)


@app.default
def resume_check(
    run: Annotated[Path | None, Parameter(help="a run whose settings to try")] = None,
    /,
    *,
    asked: Annotated[Asked | None, Parameter(name="*")] = None,
    json: Json = False,
) -> None:
    """Train a little twice, at one go and cut in parts, and compare to the bit."""
    asked = asked or Asked()
    if run is not None and set(asked.given()) - {"root"}:
        raise UserError(
            "settings are given twice",
            received=f"the run {run} and others",
            remedy="leave the run out, or all others but --root",
        )
    spec = asked.spec()
    if run is not None:
        open_run(run)
    # Only now, so that mistakes in the settings are told without waiting for torch.
    from reslab.workbench.resume_check import check_resume
    from reslab.workbench.run import load_run

    result = check_resume(spec if run is None else load_run(run), root=asked.root, tell=tell)
    if json:
        print_json({**asdict(result), "equal": result.equal})
    cuts = ", ".join(map(str, result.cuts))
    how = f"after {result.steps} steps, cut after {cuts} and resumed by new processes"
    if not result.equal:
        some = ", ".join(result.differing[:3])
        raise ReslabError(
            f"not equal {how}: {len(result.differing)} of {result.tensors} tensors or the "
            f"history differ, {some} among them; something draws or sums in an order of its own"
        )
    if not json:
        print_line(f"equal to the bit {how}: {result.tensors} tensors and the history")
