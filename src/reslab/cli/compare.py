"""``reslab compare``: is one specification better than another?"""

from __future__ import annotations

from json import dumps
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from reslab.cli.arguments import Json
from reslab.cli.output import print_json, print_line, print_table

app = App(
    name="compare",
    help_format="plaintext",
    help_epilogue="Example: reslab compare residual plain, after reslab train --folds 5 --out "
    "residual and reslab train --folds 5 --model plain14 --out plain",
)

_NAMES = {"top1": "accuracy", "macro_f1": "macro-F1", "loss": "loss"}


@app.default
def compare(
    first: Annotated[Path, Parameter(help="folder of a cross-validation")],
    second: Annotated[Path, Parameter(help="another, on the same folds")],
    /,
    *,
    metric: Annotated[
        Literal["top1", "macro_f1", "loss"], Parameter(help="of the best weights")
    ] = "top1",
    json: Json = False,
) -> None:
    """Compare two cross-validations fold by fold."""
    from reslab.workbench.compare import LEVEL, compare_folds
    from reslab.workbench.folds import open_folds

    found = compare_folds(open_folds(first), open_folds(second), metric=metric)
    test, name = found.test, _NAMES[metric]
    if json:
        print_json(
            {
                "first": str(first),
                "second": str(second),
                "metric": metric,
                "scores": [list(pair) for pair in found.scores],
                "difference": test.mean,
                "sd": test.sd,
                "interval": None if test.interval is None else list(test.interval),
                "p": test.p,
                "shown": found.shown,
                "settings": {key: list(pair) for key, pair in found.settings.items()},
            }
        )
        return
    scale, unit, digits = (1, "", 4) if metric == "loss" else (100, " points", 2)
    print_table(
        ("fold", str(first), str(second), "difference"),
        [
            (
                str(fold),
                f"{scale * a:.{digits}f}",
                f"{scale * b:.{digits}f}",
                f"{scale * (a - b):+.{digits}f}",
            )
            for fold, (a, b) in enumerate(found.scores, start=1)
        ],
    )
    text = f"difference of {name} {scale * test.mean:+.{digits}f}{unit}"
    if test.interval is not None:
        low, high = test.interval
        text += (
            f" (95 % interval {scale * low:+.{digits}f} to {scale * high:+.{digits}f}, "
            f"p = {test.p:.3g}; t-test corrected for what {test.n} folds share, Nadeau and Bengio "
            "2003)"
        )
    print_line(text)
    if test.p is None:
        print_line("it is the same in all folds, from which a t-test cannot conclude anything")
    elif found.shown:
        higher = first if test.mean > 0 else second
        print_line(f"the {name} of {higher} is higher")
    else:
        print_line(f"no difference is shown at the level of {LEVEL}")
    if found.settings:
        print_line("\nwhere their settings differ:")
        for key, pair in found.settings.items():
            print_line(f"  {key}: {dumps(pair[0])}, {dumps(pair[1])}")
    else:
        print_line("their settings are the same")
