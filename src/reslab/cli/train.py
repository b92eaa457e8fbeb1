"""``reslab train``: flags edit a specification, the rest is ``reslab.train``."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from reslab.cli.arguments import Json, Root, settings
from reslab.cli.output import accuracy, print_json, print_line, warn
from reslab.errors import UserError
from reslab.spec.faults import leaves
from reslab.spec.recipes import RECIPES, recipe_document
from reslab.spec.resolved import upgrade
from reslab.spec.run import RunSpec, SeedSpec
from reslab.spec.text import (
    Document,
    build,
    format_document,
    merge,
    nest,
    parse_override,
    parse_setting,
    read_document,
)
from reslab.workbench.stopping import raise_on_signals

if TYPE_CHECKING:
    from reslab.workbench.run import Run


def settings_help() -> str:
    """Every setting that --set takes, a line each."""
    lines = [
        textwrap.fill(f"{name}: {text}", 78, initial_indent="  ", subsequent_indent="      ")
        for name, text in leaves(RunSpec)
        if name != "recipe"
    ]
    return "\n".join(["Settings for --set and --config:", *lines])


app = App(
    name="train",
    help_format="plaintext",
    help_epilogue="Example: reslab train --data fashion-mnist --root DATA --seed 1 "
    f"--set data.augment.cutout=8\n\n{settings_help()}",
)


@app.default
def train(
    *,
    data: Annotated[str | None, Parameter(help="data set, see `reslab data list`")] = None,
    root: Root = None,
    model: Annotated[str | None, Parameter(help="net, see `reslab models`")] = None,
    recipe: Annotated[
        str | None, Parameter(help=f"starting point: {', '.join(r.name for r in RECIPES)}")
    ] = None,
    epochs: Annotated[str | None, Parameter(help="passes over the images")] = None,
    batch_size: Annotated[str | None, Parameter(help="images a step")] = None,
    lr: Annotated[str | None, Parameter(help="peak learning rate")] = None,
    seed: Annotated[str | None, Parameter(help="where all randomness begins")] = None,
    time_limit: Annotated[
        str | None, Parameter(help="train what fits into so long, such as 90s, 5m or 1h30m")
    ] = None,
    out: Annotated[Path | None, Parameter(help="the run's folder, new or empty")] = None,
    config: Annotated[Path | None, Parameter(help="YAML file with settings")] = None,
    set_: Annotated[
        tuple[str, ...],
        settings("a setting as KEY=VALUE, such as training.lr=0.1; --print-config shows all"),
    ] = (),
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
    flags = {
        "data.name": data,
        "data.root": root,
        "model.name": model,
        "training.epochs": epochs,
        "training.batch_size": batch_size,
        "training.lr": lr,
        "training.time_limit": time_limit,
    }
    # Names and paths are text as they stand, whatever YAML would make of them.
    as_text = ("data.name", "data.root", "model.name")
    if resume is not None:
        given: dict[str, object] = {
            "data": data,
            "root": root,
            "model": model,
            "recipe": recipe,
            "epochs": epochs,
            "batch-size": batch_size,
            "lr": lr,
            "seed": seed,
            "time-limit": time_limit,
            "out": out,
        }
        given |= {"config": config, "set": set_ or None, "print-config": print_config or None}
        with raise_on_signals():
            _resume(resume, {k: v for k, v in given.items() if v is not None}, json, began)
        return
    spec = gather(
        recipe,
        read_document(config) if config else {},
        *(
            nest(k, v if k in as_text else parse_setting(k, v))
            for k, v in flags.items()
            if v is not None
        ),
        *(() if seed is None else (one_seed(seed),)),
        *(parse_override(text) for text in set_),
    )
    if print_config:
        _print_config(spec, json)
        return
    # Only now, so that mistakes in the settings are told without waiting for torch.
    from reslab.cli.progress import make_progress
    from reslab.workbench.train import train as run_training

    with raise_on_signals(), make_progress() as progress:
        run = run_training(spec, out=out, observers=[progress], began=began)
    _print_run(run, json)


def _resume(path: Path, given: Mapping[str, object], json: bool, began: float) -> None:
    root = given.get("root")
    if odd := sorted(set(given) - {"root"}):
        raise UserError(
            f"a run that is resumed keeps its settings: --{odd[0]} cannot be given",
            remedy="leave it out, or train anew with --config "
            f"{path / 'run.yaml'} and what you want changed",
        )
    from reslab.cli.progress import make_progress
    from reslab.workbench.resume import resume
    from reslab.workbench.run import load_run

    if load_run(path).metrics.get("status") == "finished":
        warn(f"{path} has finished already")
    with make_progress() as progress:
        run = resume(
            path, root=None if root is None else str(root), observers=[progress], began=began
        )
    _print_run(run, json)


def gather(recipe: str | None, config: Document, *changes: Document) -> RunSpec:
    """One specification out of recipe, file and flags, in this order.

    A file may hold a resolved run, as ``--print-config`` prints it: what was found out about
    the data is found out anew.

    Raises:
        UserError: with every fault; where another recipe or data set is asked for than that of
            a resolved run, whose settings were decided for its own.
    """
    if "format" in config:
        config = upgrade(config, "the configuration")
    if "facts" in config:
        _check_decided(config, recipe, changes)
    asked = {key: value for key, value in config.items() if key not in ("facts", "format")}
    name = recipe or asked.pop("recipe", None) or "fast"
    asked.pop("recipe", None)
    return build(RunSpec, recipe_document(str(name), asked, *changes))


def one_seed(text: str) -> Document:
    """``--seed``: the one seed of everything, whatever was decided part by part before."""
    parts = dict.fromkeys(SeedSpec.model_fields, "auto")
    return {"seeds": {**parts, "base": parse_setting("seeds.base", text)}}


def _check_decided(config: Document, recipe: str | None, changes: Sequence[Document]) -> None:
    decided = {"--recipe": config.get("recipe"), "--data": config.get("data", {}).get("name")}
    wanted = {"--recipe": recipe, "--data": merge({}, *changes).get("data", {}).get("name")}
    for flag, value in wanted.items():
        if value is not None and value != decided[flag]:
            raise UserError(
                f"{flag} {value} does not go with a configuration that was decided for "
                f"{decided[flag]}",
                remedy="leave --config out, or delete facts and what was decided from it",
            )


def train_json(run: Run) -> dict[str, Any]:
    """What ``train --json`` prints of a finished run."""
    metrics = run.metrics
    test = metrics["test"]
    timing = ("epochs", "train_seconds", "compile_seconds", "images_per_second")
    return {
        "run": str(run.path),
        "split": "test",
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
        f"{run.spec.model.name} on {run.spec.data.name}: {metrics['epochs']} epochs{early} in "
        f"{metrics['train_seconds']:.1f} s, {metrics['images_per_second']:,.0f} images/s"
    )
    test = metrics["test"]
    print_line(f"test accuracy {accuracy(test['last'])}, last weights")
    print_line(
        f"test accuracy {accuracy(test['best'])}, best weights, epoch {metrics['best_epoch']}"
    )
    print_line(str(run.path))


def _print_config(spec: RunSpec, json: bool) -> None:
    from reslab.workbench.resolve import resolve

    resolved = resolve(spec).run.model_dump(mode="json")
    if json:
        print_json(resolved)
    else:
        print_line(format_document(resolved).rstrip("\n"))
