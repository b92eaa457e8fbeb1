"""``reslab evaluate``: a run's score on a split."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from reslab.cli.arguments import Json, Root, RunPath, Use
from reslab.cli.output import accuracy, percent, print_json, print_line, print_table, warn
from reslab.runs.files import locked
from reslab.workbench.stored import open_run

app = App(
    name="evaluate",
    help_format="plaintext",
    help_epilogue="Example: reslab evaluate runs/digits-resnet14-20260101-120000 --use last",
)


@app.default
def evaluate(
    run: RunPath,
    /,
    *,
    split: Annotated[
        Literal["test", "val", "fold"],
        Parameter(help="which images; fold: those that cross-validation held out"),
    ] = "test",
    use: Use = "best",
    data: Annotated[str | None, Parameter(help="another data set, with the same classes")] = None,
    root: Root = None,
    json: Json = False,
) -> None:
    """Score a run on the test or validation split."""
    open_run(run)
    # Only now, so that a mistake is told without waiting for torch.
    from reslab.workbench.evaluate import evaluate_run
    from reslab.workbench.reporting import draw_run, store_evaluation
    from reslab.workbench.run import load_run

    loaded = load_run(run)
    source = None
    if data is not None:
        from reslab.data.catalog import open_source

        source = open_source(data, root)
    # Of a run that was stopped before its own test, this is it.
    may_be_own = data is None and split == "test" and "test" not in loaded.metrics
    with locked(loaded.path) if may_be_own else nullcontext():
        result = evaluate_run(loaded, split=split, uses=(use,), source=source, root=root)
        # Asked again: whoever held it before may have tested it.
        if may_be_own and "test" not in loaded.metrics:
            store_evaluation(loaded, result)
            if loaded.history:
                draw_run(loaded)
    for text in result.warnings:
        warn(text)
    document: dict[str, Any] = {
        "run": str(loaded.path),
        "split": split,
        "weights": use,
        **result.scored[0].metrics.to_json(),
    }
    if json:
        print_json(document)
        return
    print_line(f"{split} accuracy {accuracy(document)}, {use} weights")
    print_line(f"top-5 {percent(document['top5'])}, loss {document['loss']:.4f}")
    print_table(
        ("class", "precision", "recall", "F1", "images"),
        [
            (
                c["class"],
                percent(c["precision"]),
                percent(c["recall"]),
                f"{c['f1']:.4f}",
                f"{c['support']:,}",
            )
            for c in document["per_class"]
        ],
    )
