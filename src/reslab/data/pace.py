"""How far the decoding of many pictures is."""

from __future__ import annotations

import logging
import time

from reslab.wording import clock

_LOG = logging.getLogger(__name__)

# Seconds between two tellings.
_EACH = 5.0


class Pace:
    """Tells how far decoding is, where it takes a while."""

    def __init__(self) -> None:
        self._began = self._told = time.monotonic()

    def tell(self, done: int, whole: int) -> None:
        """So many of so many are decoded."""
        now = time.monotonic()
        if now - self._told < _EACH or done == whole:
            return
        self._told = now
        speed = done / (now - self._began)
        _LOG.info(
            "decoded %s of %s pictures, %.0f/s, %s left",
            f"{done:,}",
            f"{whole:,}",
            speed,
            clock((whole - done) / speed),
        )
