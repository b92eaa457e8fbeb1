"""Lengths of time as people write them."""

from __future__ import annotations

import re

_UNITS = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?")


def parse_duration(value: object) -> object:
    """Seconds out of text such as ``90s``, ``5m`` or ``1h30m``; anything else as it is.

    >>> parse_duration("1h30m")
    5400.0
    """
    found = _UNITS.fullmatch(value.replace(" ", "")) if isinstance(value, str) else None
    if found is None or not any(found.groups()):
        return value
    hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return 3600 * hours + 60 * minutes + seconds
