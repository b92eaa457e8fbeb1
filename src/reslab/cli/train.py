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
from reslab.cli.folds import run_folds
from reslab.cli.output import accuracy, print_json, print_line, warn
from reslab.errors import UserError
from reslab.spec.run import RunSpec
from reslab.spec.text import format_document
from reslab.tracking.catalog import TRACKERS, find_tracker
from reslab.wording import counted, quoted
from reslab.workbench.folds import is_cross_validation
from reslab.workbench.stored import has_finished, open_run

if TYPE_CHECKING:
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
        Parameter(
            help="cross-validate: hold each of so many parts out once, then train on all; a limit "
            "of time is for all of them together"
        ),
    ] = None,
    print_config: Annotated[
        bool,
        Parameter(
            negative="", show_default=False, help="print all settings, decided, and train nothing"
        ),
    ] = False,
    resume: Annotated[
        Path | None, Parameter(help="go on with a run that was interrupted; takes --root and --log")
    ] = None,
    log: Annotated[
        tuple[str, ...],
        Parameter(
            negative="",
            show_default=False,
            help=f"log to a tracker: {', '.join(t.name for t in TRACKERS)}; may be given again and "
            "again; needs reslab[track]",
        ),
    ] = (),
    json: Json = False,
) -> None:
    """Train, test and report a residual net."""
    began = time.perf_counter()
    asked = asked or Asked()
    names = tuple(dict.fromkeys(find_tracker(name).name for name in log))
    if resume is not None:
        given = asked.given()
        others = {"out": out, "folds": folds, "print-config": print_config}
        given += [name for name, value in others.items() if value]
        _resume(resume, given, asked.root, names, json=json, began=began)
        return
    if folds is not None:
        asked = replace(asked, set_=(*asked.set_, f"data.folds={folds}"))
    spec = asked.spec()
    if print_config:
        _print_config(spec, json)
        return
    if spec.data.folds is not None and spec.data.fold is None:
        run_folds(spec, None, out=out, log=names, json=json, began=began)
        return
    # Only now, so that mistakes in the settings are told without waiting for torch.
    from reslab.cli.progress import make_progress
    from reslab.tracking.tracker import tracker
    from reslab.workbench.train import train as run_training

    trackers = [tracker(name) for name in names]
    with make_progress() as progress:
        run = run_training(spec, out=out, observers=[progress, *trackers], began=began)
    _print_run(run, json)


def _resume(
    path: Path,
    given: Sequence[str],
    root: str | None,
    log: Sequence[str],
    *,
    json: bool,
    began: float,
) -> None:
    if odd := sorted(set(given) - {"root"}):
        raise UserError(
            f"a run that is resumed keeps its settings: --{odd[0]} cannot be given",
            remedy="leave it out, or train anew with --config "
            f"{quoted(path / 'run.yaml')} and what you want changed",
        )
    if is_cross_validation(path):
        run_folds(None, path, root=root, log=log, json=json, began=began)
        return
    if has_finished(open_run(path)):
        warn(f"{path} has finished already")
    # Only now, so that a mistake is told without waiting for torch.
    from reslab.cli.progress import make_progress
    from reslab.tracking.tracker import tracker
    from reslab.workbench.resume import resume

    trackers = [tracker(name) for name in log]
    with make_progress() as progress:
        run = resume(path, root=root, observers=[progress, *trackers], began=began)
    _print_run(run, json)


def train_json(run: Run) -> dict[str, Any]:
    """What ``train --json`` prints of a finished run."""
    metrics = run.metrics
    split = run.own_split
    test = metrics.get(split, {})
    timing = ("epochs", "train_seconds", "compile_seconds", "images_per_second")
    return {
        "run": str(run.path),
        "split": split,
        "weights": "best",
        **test.get("best", {}),
        "last": test.get("last"),
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
    what = {"fold": "held-out", "test": "test"}[run.own_split]
    # A data set of one's own may have no test images.
    if scores := metrics.get(run.own_split):
        print_line(f"{what} accuracy {accuracy(scores['last'])}, last weights")
        print_line(
            f"{what} accuracy {accuracy(scores['best'])}, best weights, "
            f"epoch {metrics['best_epoch']}"
        )
    print_line(str(run.path))


def _print_config(spec: RunSpec, json: bool) -> None:
    if spec.data.folds is not None and spec.data.fold is None:
        # Each fold is decided apart.
        resolved = spec.model_dump(mode="json")
    else:
        from reslab.workbench.resolve import resolve

        resolved = resolve(spec).run.model_dump(mode="json")
    if json:
        print_json(resolved)
    else:
        print_line(format_document(resolved).rstrip("\n"))
