"""Where things are kept that can be made or fetched again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(kind: str) -> Path:
    """``reslab/<kind>`` in ``XDG_CACHE_HOME`` or ``~/.cache``; it need not exist.

    Args:
        kind: what is kept there, such as ``data``.
    """
    named = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification has relative paths ignored.
    base = Path(named) if Path(named).is_absolute() else Path.home() / ".cache"
    return base / "reslab" / kind
