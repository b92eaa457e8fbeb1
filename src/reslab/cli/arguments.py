"""Arguments that the command line has beside the specification."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from reslab.errors import UserError

# Those that several commands share.
Json = Annotated[bool, Parameter(negative="", show_default=False, help="print one JSON object")]
Root = Annotated[str | None, Parameter(help="folder that holds the data set's files")]
RunPath = Annotated[Path, Parameter(help="the run's folder")]
Use = Annotated[Literal["best", "last"], Parameter(help="which weights")]
Engine = Annotated[
    str, Parameter(help="auto, measure, or one of the engines that `reslab doctor` lists")
]


def settings(what: str) -> Parameter:
    """The option --set, which is given once for each KEY=VALUE.

    Args:
        what: which settings it takes, for its help.
    """
    return Parameter(
        name="--set",
        negative="",
        show_default=False,
        help=f"{what}; may be given again and again",
    )


def whole_number(text: str, option: str, *, least: int) -> int:
    """The number that an option was given.

    Args:
        text: as typed.
        option: its name, for the error's text.
        least: the smallest number that has a meaning.

    Raises:
        UserError: where it is no whole number or too small.
    """
    # Done here because cyclopts rounds 1.5 to a whole number without a word.
    if re.fullmatch(r"\+?[0-9]{1,9}", text) and int(text) >= least:
        return int(text)
    raise UserError(
        f"{option} cannot be used",
        expected=f"a whole number of at least {least}",
        received=repr(text),
    )


def fraction(text: str, option: str, *, above: float | None = None) -> float:
    """The share, up to 1, that an option was given.

    Args:
        text: as typed.
        option: its name, for the error's text.
        above: what it has to exceed; None: 0 is allowed.

    Raises:
        UserError: where it is no number or out of range.
    """
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if (share >= 0 if above is None else share > above) and share <= 1:
        return share
    lowest = "0 to 1" if above is None else f"above {above:g} and at most 1"
    raise UserError(
        f"{option} cannot be used",
        expected=f"a number {lowest}, such as 0.95 for 95 %",
        received=repr(text),
    )
