"""``reslab calibrate``: probabilities that mean what they say, and when to say "don't know"."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from reslab.cli.arguments import Json, Root, RunPath, Use, fraction
from reslab.cli.output import known, percent, print_json, print_line, print_table, warn_of_end
from reslab.errors import UserError
from reslab.runs.folder import CONFIDENCE
from reslab.workbench.stored import open_run

app = App(
    name="calibrate",
    help_format="plaintext",
    help_epilogue="Example: reslab calibrate runs/digits-resnet14-20260101-120000 --accuracy 0.99",
)


@app.default
def calibrate(
    run: RunPath,
    /,
    *,
    use: Use = "best",
    accuracy: Annotated[
        str | None, Parameter(help="what the accepted images should reach; unless given, 0.99")
    ] = None,
    coverage: Annotated[
        str | None, Parameter(help="share of images to accept, in place of an accuracy")
    ] = None,
    root: Root = None,
    json: Json = False,
) -> None:
    """Fit a temperature on the validation images, and choose when to say "don't know"."""
    if accuracy is not None and coverage is not None:
        raise UserError(
            "--accuracy and --coverage exclude each other", remedy="give the one that matters"
        )
    wanted = fraction("0.99" if accuracy is None else accuracy, "--accuracy", above=0)
    share = None if coverage is None else fraction(coverage, "--coverage", above=0)
    warn_of_end(open_run(run))
    # Only now, so that a mistake is told without waiting for torch.
    from reslab.evaluation.selective import Target
    from reslab.workbench.calibrate import calibrate_run
    from reslab.workbench.run import load_run

    loaded = load_run(run)
    target = Target("accuracy", wanted) if share is None else Target("coverage", share)
    found = calibrate_run(loaded, target, use=use, root=root)
    document = {"run": str(loaded.path), **found.to_json()}
    if json:
        print_json({**document, "picture": str(loaded.path / CONFIDENCE)})
        return
    print_line(
        f"temperature {found.temperature:.4g} for the {use} weights, from {found.n:,} validation "
        "images"
    )
    print_table(
        ("scaling", "calibration error (ECE)", "loss"),
        [
            (name, percent(document[f"ece_{key}"]), f"{document[f'nll_{key}']:.4f}")
            for name, key in (
                ("before", "before"),
                ("after, on the images that it was fitted on", "after"),
                ("after, each half with the temperature of the other", "cross_fitted"),
            )
        ],
    )
    print_line(
        f"threshold {found.threshold:.4g} for {target.kind} {percent(target.share)}: "
        f"{known(document)}"
    )
    if found.threshold == 0:
        print_line("with a threshold of 0 it never says that it does not know")
    elif share is None and document["accepted_top1_interval"][0] < wanted:
        print_line(
            f"that {percent(wanted)} will be reached on other images is not certain: the interval "
            "goes below it, and the choice of the threshold comes on top"
        )
    if document["nll_after"] == document["nll_before"]:
        print_line(
            "all of these images are right, so that no temperature could be fitted: the sharper, "
            "the better it would look; more of them (data.validation) may tell"
        )
    else:
        print_line("the honest row is the last: the one before was fitted on what it is judged by")
    print_line(str(loaded.path / CONFIDENCE))
