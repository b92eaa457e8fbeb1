"""``reslab resume-check``: proves for given settings that resuming changes no bit."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from reslab.cli.arguments import Json, Root, settings
from reslab.cli.output import print_json, print_line
from reslab.cli.train import gather
from reslab.errors import ReslabError, UserError
from reslab.spec.text import nest, parse_override, read_document
from reslab.workbench.stopping import raise_on_signals

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
    recipe: Annotated[str | None, Parameter(help="starting point, as of train")] = None,
    data: Annotated[str | None, Parameter(help="data set, see `reslab data list`")] = None,
    root: Root = None,
    model: Annotated[str | None, Parameter(help="net, see `reslab models`")] = None,
    config: Annotated[Path | None, Parameter(help="YAML file with settings")] = None,
    set_: Annotated[tuple[str, ...], settings("a setting as KEY=VALUE, as of train")] = (),
    json: Json = False,
) -> None:
    """Train a little twice, at one go and cut in parts, and compare to the bit."""
    flags = {"data.name": data, "model.name": model}
    given = [name for name, value in flags.items() if value is not None]
    if run is not None and (given or recipe or config or set_):
        raise UserError(
            "settings are given twice",
            received=f"the run {run} and others",
            remedy="leave the run out, or all others but --root",
        )
    if run is None:
        spec = gather(
            recipe,
            read_document(config) if config else {},
            *(nest(k, v) for k, v in {**flags, "data.root": root}.items() if v is not None),
            *(parse_override(text) for text in set_),
        )
    # Only now, so that mistakes in the settings are told without waiting for torch.
    from reslab.workbench.resume_check import check_resume
    from reslab.workbench.run import load_run

    with raise_on_signals():
        result = check_resume(spec) if run is None else check_resume(load_run(run), root=root)
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
