"""``reslab train --folds``: the same command, where there are folds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reslab.cli.output import accuracy, percent, print_json, print_line, print_table

if TYPE_CHECKING:
    from reslab.spec.run import RunSpec
    from reslab.workbench.folds import CrossValidation


def run_folds(
    spec: RunSpec | None,
    path: Path | None,
    *,
    out: Path | None = None,
    root: str | None = None,
    log: Sequence[str],
    json: bool,
    began: float,
) -> None:
    """Cross-validate, or go on with the cross-validation at ``path``, and print what came out."""
    from reslab.cli.progress import make_progress
    from reslab.tracking.tracker import tracker
    from reslab.workbench.cross_validate import cross_validate, resume_folds

    with make_progress() as progress:
        observers, tell = [progress, *map(tracker, log)], progress.write
        if spec is not None:
            found = cross_validate(spec, out=out, observers=observers, tell=tell, began=began)
        else:
            assert path is not None
            found = resume_folds(path, root=root, observers=observers, tell=tell)
    _print(found, json)


def _print(found: CrossValidation, json: bool) -> None:
    summary = found.summary
    if json:
        print_json({"run": str(found.path), **summary})
        return
    print_table(
        ("fold", "accuracy", "macro-F1", "images", "trained on", "best epoch"),
        [
            (
                str(score["fold"]),
                percent(score["top1"]),
                f"{score['macro_f1']:.4f}",
                f"{score['n']:,}",
                f"{score['train_images']:,}",
                str(score["best_epoch"]),
            )
            for score in summary["scores"]
        ],
    )
    print_line(
        f"accuracy of {summary['folds']} folds {100 * summary['top1_mean']:.2f} ± "
        f"{100 * summary['top1_sd']:.2f} % (mean ± sd), macro-F1 {summary['macro_f1_mean']:.4f} ± "
        f"{summary['macro_f1_sd']:.4f}"
    )
    if test := summary["final"]["test"]:
        print_line(f"test accuracy {accuracy(test['best'])}, final net, best weights")
    print_line(str(found.path))
