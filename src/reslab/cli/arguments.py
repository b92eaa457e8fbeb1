"""Arguments that the command line has beside the specification."""

from __future__ import annotations

from reslab.errors import UserError


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
    if text.isascii() and text.lstrip("+").isdigit() and int(text) >= least:
        return int(text)
    raise UserError(
        f"{option} cannot be used",
        expected=f"a whole number of at least {least}",
        received=repr(text),
        remedy=f"correct it with {option} {max(least, 5)}",
    )
