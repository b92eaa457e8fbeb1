"""``reslab evaluate``: a run's score on a split."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from reslab.cli.arguments import Engine, Json, Root, RunPath, Use
from reslab.cli.output import (
    accuracy,
    known,
    percent,
    print_json,
    print_line,
    print_table,
    tell,
    warn,
    warn_of_end,
)
from reslab.inference.catalog import REFERENCE, check_engine
from reslab.runs.files import locked
from reslab.workbench.stored import open_run

app = App(
    name="evaluate",
    help_format="plaintext",
    help_epilogue="Example: reslab evaluate runs/digits-resnet14-20260101-120000 --use last",
)

# What of another data set is scored.
_PARTS = {
    "test": "its images for the test",
    "val": "its images for validation",
    "fold": "its fold",
    "all": "all its images",
}


@app.default
def evaluate(
    run: RunPath,
    /,
    *,
    split: Annotated[
        Literal["test", "val", "fold"] | None,
        Parameter(
            help="which images; fold: those that cross-validation held out, the default there; "
            "elsewhere test"
        ),
    ] = None,
    use: Use = "best",
    data: Annotated[str | None, Parameter(help="another data set, with the same classes")] = None,
    root: Root = None,
    engine: Engine = REFERENCE,
    flip: Annotated[
        bool | None,
        Parameter(help="average over mirror images; by default as the run has it: evaluation.flip"),
    ] = None,
    json: Json = False,
) -> None:
    """Score a run on the test split, its validation or its fold."""
    check_engine(engine)
    stored = open_run(run)
    warn_of_end(stored)
    own = stored.own_split
    chosen = split or own
    # Only now, so that a mistake is told without waiting for torch.
    from reslab.evaluation.calibration import judge
    from reslab.workbench.calibrated import calibration_for
    from reslab.workbench.evaluate import evaluate_run
    from reslab.workbench.reporting import draw_run, store_evaluation
    from reslab.workbench.run import load_run

    loaded = load_run(run)
    # Before the test split is opened, so that a damaged one costs no opening.
    found = calibration_for(loaded.folder, use)
    source = None
    other: dict[str, str] = {}
    if data is not None:
        from reslab.data.pictures.folder import FolderSource
        from reslab.workbench.sources import other_source

        source = other_source(loaded.spec, data, root)
        other = {"data": source.card.name, "part": chosen}
        if chosen == "test" and isinstance(source, FolderSource):
            other["part"] = source.scored
    # Of a run that was stopped before it was scored, this is it, by the reference alone.
    is_missing = data is None and chosen == own and own not in loaded.metrics
    own_flip = loaded.spec.evaluation.flip
    may_be_own = is_missing and engine == REFERENCE and flip in (None, own_flip)
    with locked(loaded.path) if may_be_own else nullcontext():
        result = evaluate_run(
            loaded,
            split=chosen,
            uses=(use,),
            source=source,
            root=root,
            engine=engine,
            flip=flip,
            tell=tell,
        )
        # Asked again: whoever held it before may have tested it.
        if may_be_own and own not in loaded.metrics:
            store_evaluation(loaded, result)
            if loaded.history:
                draw_run(loaded)
    for text in (*result.warnings, *filter(None, [found.warning])):
        warn(text)
    if is_missing and not may_be_own:
        warn(
            "this is not written into the run, which keeps what the engine eager gives with its "
            "own evaluation.flip"
        )
    confidence = judge(result.scored[0].logits_NK, result.images.labels_N, found.calibration)
    document: dict[str, Any] = {
        "run": str(loaded.path),
        "split": chosen,
        **other,
        "weights": use,
        "engine": result.scored[0].engine,
        "flip": own_flip if flip is None else flip,
        **result.scored[0].metrics.to_json(),
        **confidence,
    }
    if json:
        print_json(document)
        return
    by = "" if document["engine"] == REFERENCE else f", engine {document['engine']}"
    by += ", averaged over mirror images" if document["flip"] else ""
    if other:
        print_line(f"scored on {other['data']}, {_PARTS[other['part']]}")
    print_line(f"{chosen} accuracy {accuracy(document)}, {use} weights{by}")
    print_line(
        f"macro-F1 {document['macro_f1']:.4f}, top-5 {percent(document['top5'])}, loss "
        f"{document['loss']:.4f}"
    )
    _print_confidence(document)
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


def _print_confidence(document: dict[str, Any]) -> None:
    error = f"calibration error (ECE) {percent(document['ece'])}"
    if "temperature" not in document:
        print_line(error)
        return
    print_line(
        f"{error}, {percent(document['ece_calibrated'])} with temperature "
        f"{document['temperature']:.4g} (loss {document['nll_calibrated']:.4f})"
    )
    fitted = ", which were fitted on these images" if document["split"] == "val" else ""
    print_line(f"at threshold {document['threshold']:.4g} {known(document)}{fitted}")
