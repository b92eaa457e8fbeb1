"""``reslab select-features``: how many of its features does a net need?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from reslab.cli.arguments import Json, Root, RunPath, Use
from reslab.cli.output import accuracy, percent, print_json, print_line, print_table, tell
from reslab.errors import UserError
from reslab.runs.folder import FEATURES
from reslab.runs.new_folder import check_free
from reslab.workbench.stored import open_run

app = App(
    name="select-features",
    help_format="plaintext",
    help_epilogue="Example: reslab select-features runs/digits-resnet14-20260101-120000 --keep "
    "0.25 --method l1 --out runs/quarter",
)


@app.default
def select_features(
    run: RunPath,
    /,
    *,
    out: Annotated[Path, Parameter(help="the new run's folder, new or empty")],
    keep: Annotated[str, Parameter(help="a fraction of the features, or their number")] = "0.5",
    method: Annotated[
        Literal["univariate", "l1", "model"],
        Parameter(
            help="how they are chosen: each by itself, by an L1 penalty, or by a forest of trees"
        ),
    ] = "univariate",
    use: Use = "best",
    root: Root = None,
    json: Json = False,
) -> None:
    """Fit a head on some of a net's pooled features, as a run of its own."""
    share = _number(keep)
    open_run(run)
    check_free(out)
    # Only now, so that a mistake is told without waiting for torch.
    from reslab.workbench.run import load_run
    from reslab.workbench.select_features import select_features as select

    made = select(load_run(run), out, keep=share, method=method, use=use, root=root, tell=tell)
    found, metrics = made.folder.read_json(FEATURES), made.metrics
    split = made.own_split
    scores = metrics.get(split, {}).get("best")
    if json:
        print_json({"run": str(made.path), **found, split: scores})
        return
    if found["val_accuracy"] is not None:
        names = {"own": "the net's own head", "all": "linear head, all features"}
        names["chosen"] = f"linear head, {found['kept']} features"
        print_table(
            ("head", "features", "validation accuracy"),
            [
                (
                    names[name],
                    str(found["kept"] if name == "chosen" else found["of"]),
                    percent(found["val_accuracy"][name]),
                )
                for name in names
            ],
        )
    if scores is not None:
        before = load_run(run).metrics.get(split, {}).get(use)
        own = "" if before is None else f"; the run's own head {percent(before['top1'])}"
        print_line(f"{split} accuracy {accuracy(scores)}{own}")
    print_line(str(made.path))


def _number(text: str) -> float:
    """A whole number as an ``int``, all others as a ``float``."""
    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError as error:
        raise UserError(
            "--keep cannot be used",
            expected="a fraction such as 0.5, or a number of features such as 32",
            received=repr(text),
        ) from error
