"""The options that a specification is made of, shared by all commands that take one."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from reslab.catalog.data_names import name_and_root
from reslab.cli.arguments import Root, settings
from reslab.cli.options import SETTINGS, option
from reslab.errors import UserError
from reslab.spec.faults import leaves
from reslab.spec.recipes import RECIPES, recipe_document
from reslab.spec.resolved import upgrade
from reslab.spec.run import RunSpec, SeedSpec
from reslab.spec.text import (
    Document,
    build,
    merge,
    nest,
    parse_override,
    parse_setting,
    read_document,
)

# Options that are a setting each. Names and paths are text as they stand, whatever YAML would
# make of them.
_VALUES = ("epochs", "batch_size", "lr", "time_limit")
_TEXTS = ("root", "model", "group_by", "fit", "exclude", "cache_size")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Asked:
    """What to run, as it was typed.

    Attributes are the options of the same names; None and () stand for those left out.
    """

    data: Annotated[
        str | None,
        Parameter(
            help="data set, see `reslab data list`; a folder or manifest (CSV, TSV, JSONL) of "
            "pictures; wds:PATTERN for WebDataset shards; hf:NAME for Hugging Face's datasets"
        ),
    ] = None
    root: Root = None
    model: Annotated[str | None, Parameter(help="net, see `reslab models`")] = None
    recipe: Annotated[
        str | None, Parameter(help=f"starting point: {', '.join(r.name for r in RECIPES)}")
    ] = None
    epochs: Annotated[str | None, Parameter(help="passes over the images")] = None
    batch_size: Annotated[str | None, Parameter(help="images a step")] = None
    lr: Annotated[str | None, Parameter(help="peak learning rate")] = None
    seed: Annotated[str | None, Parameter(help="where all randomness begins")] = None
    time_limit: Annotated[
        str | None, Parameter(help="train what fits into so long, such as 90s, 1.5m or 1h30m")
    ] = None
    group_by: Annotated[
        str | None,
        Parameter(
            help="text file with a line for each training image; those with equal lines are never "
            "divided between training, validation and folds"
        ),
    ] = None
    fit: Annotated[
        str | None, Parameter(help="how a picture becomes square: crop, pad or squash")
    ] = None
    exclude: Annotated[
        str | None,
        Parameter(help="pictures to leave out, as `reslab data check --fix-list` lists them"),
    ] = None
    cache_size: Annotated[
        str | None, Parameter(help="what decoded pictures may take on the disk, such as 20GB")
    ] = None
    config: Annotated[Path | None, Parameter(help="YAML file with settings")] = None
    set_: Annotated[
        tuple[str, ...],
        settings("a setting as KEY=VALUE, such as training.lr=0.1; --print-config shows all"),
    ] = ()

    def given(self) -> list[str]:
        """The options that were typed, without their dashes."""
        typed = (f.name for f in fields(self) if getattr(self, f.name) not in (None, ()))
        return [option(name) for name in typed]

    def spec(self) -> RunSpec:
        """One specification out of recipe, file and options, in this order.

        Raises:
            UserError: with every fault.
        """
        for f in fields(self):
            if getattr(self, f.name) == "":
                raise UserError(
                    f"--{option(f.name)} is empty", remedy="give it a value, or leave it out"
                )
        changes: list[Document] = []
        for name in (*_TEXTS, *_VALUES):
            key, value = SETTINGS[name], getattr(self, name)
            if value is not None:
                changes.append(nest(key, value if name in _TEXTS else parse_setting(key, value)))
        if self.data is not None:
            # A folder of pictures is typed as it stands.
            name, root = name_and_root(self.data, self.root)
            changes.append({"data": {"name": name, **({} if root is None else {"root": root})}})
        if self.seed is not None:
            changes.append(one_seed(self.seed))
        return gather(
            self.recipe,
            read_document(self.config) if self.config else {},
            *changes,
            *(parse_override(text) for text in self.set_),
        )


def settings_help() -> str:
    """Every setting that --set takes, a line each."""
    lines = [
        textwrap.fill(f"{name}: {text}", 78, initial_indent="  ", subsequent_indent="      ")
        for name, text in leaves(RunSpec)
        if name != "recipe"
    ]
    return "\n".join(["Settings for --set and --config:", *lines])


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
