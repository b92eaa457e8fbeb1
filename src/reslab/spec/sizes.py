"""Amounts of memory as people write them."""

from __future__ import annotations

import re

_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?", re.IGNORECASE)


def parse_bytes(value: object) -> object:
    """Bytes out of text such as ``500MB`` or ``1.5g``; what is no text as it is.

    Units are powers of 1,024, with and without an i.

    >>> parse_bytes("1.5GB"), parse_bytes("20 MiB"), parse_bytes("100"), parse_bytes(100)
    (1610612736, 20971520, 100, 100)

    Raises:
        ValueError: for other text, with what is expected.
    """
    if not isinstance(value, str):
        return value
    found = _AMOUNT.fullmatch(value.strip())
    if found is None:
        raise ValueError("bytes, or such as 500MB or 20GB")
    return int(float(found[1]) * _UNITS[found[2].lower()])
