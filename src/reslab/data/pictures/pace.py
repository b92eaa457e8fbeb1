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
        # Of the first telling, since what comes before it is no decoding alone.
        self._begun: tuple[float, int] | None = None
        self._told = 0.0

    def tell(self, done: int, whole: int) -> None:
        """So many of so many are decoded."""
        now = time.monotonic()
        if self._begun is None:
            self._begun, self._told = (now, done), now
        if now - self._told < _EACH or done == whole:
            return
        self._told = now
        speed = (done - self._begun[1]) / (now - self._begun[0])
        _LOG.info(
            "decoded %s of %s pictures, %.0f/s, %s left",
            f"{done:,}",
            f"{whole:,}",
            speed,
            clock((whole - done) / speed),
        )
