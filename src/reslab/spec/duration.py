"""Lengths of time as people write them."""

from __future__ import annotations

import re

_NUMBER = r"(\d+(?:\.\d+)?)"
_UNITS = re.compile(rf"(?:{_NUMBER}h)?(?:{_NUMBER}m)?(?:{_NUMBER}s)?")


def parse_duration(value: object) -> object:
    """Seconds out of text such as ``90s``, ``1.5m`` or ``1h30m``; what is no text as it is.

    >>> parse_duration("1h30m"), parse_duration("1.5m"), parse_duration("20"), parse_duration(20)
    (5400.0, 90.0, 20.0, 20)

    Raises:
        ValueError: for other text, with what is expected.
    """
    if not isinstance(value, str):
        return value
    text = value.replace(" ", "")
    found = _UNITS.fullmatch(text)
    if found is not None and any(found.groups()):
        hours, minutes, seconds = (float(part or 0) for part in found.groups())
        return 3600 * hours + 60 * minutes + seconds
    if re.fullmatch(_NUMBER, text):
        return float(text)
    raise ValueError("seconds, or such as 90s, 1.5m or 1h30m")
