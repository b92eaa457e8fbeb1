"""``reslab train``: flags edit a specification, the rest is ``reslab.train``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from reslab.cli.arguments import Json
from reslab.cli.asked import Asked, settings_help
from reslab.cli.output import accuracy, percent, print_json, print_line, print_table, warn
from reslab.errors import UserError
from reslab.spec.run import RunSpec
from reslab.spec.text import format_document
from reslab.wording import counted, quoted
from reslab.workbench.folds import is_cross_validation
from reslab.workbench.stored import has_finished, open_run

if TYPE_CHECKING:
    from reslab.workbench.folds import CrossValidation
    from reslab.workbench.run import Run


app = App(
    name="train",
    help_format="plaintext",
    help_epilogue="Example: reslab train --data fashion-mnist --root DATA --seed 1 "
    f"--set data.augment.cutout=8\n\n{settings_help()}",
)


@app.default
def train(
    *,
    asked: Annotated[Asked | None, Parameter(name="*")] = None,
    out: Annotated[Path | None, Parameter(help="the run's folder, new or empty")] = None,
    folds: Annotated[
        str | None,
        Parameter(help="cross-validate: hold each of so many parts out once, then train on all"),
    ] = None,
    print_config: Annotated[
        bool,
        Parameter(
            negative="", show_default=False, help="print all settings, decided, and train nothing"
        ),
    ] = False,
    resume: Annotated[
        Path | None, Parameter(help="go on with a run that was interrupted; takes --root at most")
    ] = None,
    json: Json = False,
) -> None:
    """Train, test and report a residual net."""
    began = time.perf_counter()
    asked = asked or Asked()
    if resume is not None:
        given = asked.given()
        others = {"out": out, "folds": folds, "print-config": print_config}
        given += [name for name, value in others.items() if value]
        _resume(resume, given, asked.root, json, began)
        return
    if folds is not None:
        asked = replace(asked, set_=(*asked.set_, f"data.folds={folds}"))
    spec = asked.spec()
    if print_config:
        _print_config(spec, json)
        return
    if spec.data.folds is not None and spec.data.fold is None:
        _print_folds(_cross_validate(spec, out), json)
        return
    # Only now, so that mistakes in the settings are told without waiting for torch.
    from reslab.cli.progress import make_progress
    from reslab.workbench.train import train as run_training

    with make_progress() as progress:
        run = run_training(spec, out=out, observers=[progress], began=began)
    _print_run(run, json)


def _resume(path: Path, given: Sequence[str], root: str | None, json: bool, began: float) -> None:
    if odd := sorted(set(given) - {"root"}):
        raise UserError(
            f"a run that is resumed keeps its settings: --{odd[0]} cannot be given",
            remedy="leave it out, or train anew with --config "
            f"{quoted(path / 'run.yaml')} and what you want changed",
        )
    if is_cross_validation(path):
        _print_folds(_resume_folds(path, root), json)
        return
    if has_finished(open_run(path)):
        warn(f"{path} has finished already")
    # Only now, so that a mistake is told without waiting for torch.
    from reslab.cli.progress import make_progress
    from reslab.workbench.resume import resume

    with make_progress() as progress:
        run = resume(path, root=root, observers=[progress], began=began)
    _print_run(run, json)


def _cross_validate(spec: RunSpec, out: Path | None) -> CrossValidation:
    from reslab.cli.progress import make_progress
    from reslab.workbench.cross_validate import cross_validate

    with make_progress() as progress:
        return cross_validate(spec, out=out, observers=[progress], tell=progress.write)


def _resume_folds(path: Path, root: str | None) -> CrossValidation:
    from reslab.cli.progress import make_progress
    from reslab.workbench.cross_validate import resume_folds

    with make_progress() as progress:
        return resume_folds(path, root=root, observers=[progress], tell=progress.write)


def _print_folds(found: CrossValidation, json: bool) -> None:
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


def train_json(run: Run) -> dict[str, Any]:
    """What ``train --json`` prints of a finished run."""
    metrics = run.metrics
    split = "fold" if run.spec.data.fold else "test"
    test = metrics[split]
    timing = ("epochs", "train_seconds", "compile_seconds", "images_per_second")
    return {
        "run": str(run.path),
        "split": split,
        "weights": "best",
        **test["best"],
        "last": test["last"],
        "best_epoch": metrics["best_epoch"],
        **{key: metrics[key] for key in timing},
    }


def _print_run(run: Run, json: bool) -> None:
    if json:
        print_json(train_json(run))
        return
    metrics = run.metrics
    early = ", ended early," if metrics.get("stopped_early") else ""
    print_line(
        f"{run.spec.model.name} on {run.spec.data.name}: "
        f"{counted(metrics['epochs'], 'epoch')}{early} in "
        f"{metrics['train_seconds']:.1f} s, {metrics['images_per_second']:,.0f} images/s"
    )
    split, what = ("fold", "held-out") if run.spec.data.fold else ("test", "test")
    scores = metrics[split]
    print_line(f"{what} accuracy {accuracy(scores['last'])}, last weights")
    print_line(
        f"{what} accuracy {accuracy(scores['best'])}, best weights, epoch {metrics['best_epoch']}"
    )
    print_line(str(run.path))


def _print_config(spec: RunSpec, json: bool) -> None:
    from reslab.workbench.resolve import resolve

    resolved = resolve(spec).run.model_dump(mode="json")
    if json:
        print_json(resolved)
    else:
        print_line(format_document(resolved).rstrip("\n"))
