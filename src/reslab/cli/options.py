"""Settings by the options that the command at hand has for them, in what people are told."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise

from cyclopts import App

# Options that are a setting each, as Python spells them.
SETTINGS: Mapping[str, str] = {
    "data": "data.name",
    "root": "data.root",
    "model": "model.name",
    "epochs": "training.epochs",
    "batch_size": "training.batch_size",
    "lr": "training.lr",
    "seed": "seeds.base",
    "time_limit": "training.time_limit",
    "folds": "data.folds",
    "group_by": "data.group_by",
    "fit": "data.fit",
    "background": "data.background",
    "image_size": "data.image_size",
    "exclude": "data.exclude",
    "cache_size": "data.cache_size",
}


def option(name: str) -> str:
    """An attribute's name as it is typed, without its dashes.

    >>> option("batch_size"), option("set_")
    ('batch-size', 'set')
    """
    return name.rstrip("_").replace("_", "-")


def in_options(text: str, names: Collection[str]) -> str:
    """A text in which settings are called by the options of a command.

    Where a setting's name was mistyped it stays what was meant.

    Args:
        text: what people are told.
        names: options of the command, as they are typed.

    >>> in_options("data.image_size is wrong; set data.image_size=auto", {"--image-size"})
    '--image-size is wrong; set --image-size auto'
    """
    for name, setting in SETTINGS.items():
        typed = f"--{option(name)}"
        if typed in names:
            pattern = rf"(?<![\w./-])(?<!did you mean )(?:--set )?{re.escape(setting)}"
            text = re.sub(rf"{pattern}=(?=[^\s,;])", f"{typed} ", text)
            text = re.sub(rf"{pattern}(?![\w/-]|\.\w|=)", typed, text)
    return text


def in_options_at_hand(text: str, app: App, arguments: Sequence[str]) -> str:
    """A text in which settings are called by the options of the command that was called.

    A setting that was given with --set keeps its name, since an option would not change it; so do
    those of a run that is resumed.

    Args:
        text: what people are told.
        app: the whole command line.
        arguments: what was typed.
    """
    if not any(setting in text for setting in SETTINGS.values()):
        return text
    _, apps, rest = app.parse_commands(list(arguments))
    if "--resume" in rest or apps[-1].default_command is None:
        return text
    set_ = {
        word.removeprefix("--set=").partition("=")[0].strip()
        for before, word in pairwise(["", *rest])
        if before == "--set" or word.startswith("--set=")
    }
    kept = {f"--{option(name)}" for name, setting in SETTINGS.items() if setting in set_}
    arguments_there = apps[-1].assemble_argument_collection()
    return in_options(text, {name for one in arguments_there for name in one.names} - kept)
