"""How downloads get into the user's cache whole or not at all."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

from reslab.catalog.datasets import DataCard
from reslab.errors import UserError
from reslab.folders import cache_folder

# A server that accepts the connection and then says nothing would otherwise hold us for ever.
_SILENCE_SECONDS = 60.0


@contextmanager
def download_staging(card: DataCard) -> Iterator[Path]:
    """A folder in the cache to download into, deleted at the end.

    Files that arrived whole are moved out of it by a rename, so that nothing half-written ever
    has a name that a later run looks for.

    Args:
        card: the data set that is downloaded, for the error's text.

    Yields:
        The empty folder.

    Raises:
        UserError: where the download failed or the cache cannot be written.
    """
    cache = cache_folder("data")
    silence_before = socket.getdefaulttimeout()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=cache) as staging:
            # torchvision's downloads take no time limit; urllib reads this one.
            socket.setdefaulttimeout(_SILENCE_SECONDS)
            yield Path(staging)
    except (OSError, RuntimeError, HTTPException) as error:
        raise UserError(
            f"{card.name} could not be downloaded into {cache}",
            received=" ".join(str(error).split()) or type(error).__name__,
            remedy="check the network, or give the folder that holds its files with --root",
        ) from error
    finally:
        socket.setdefaulttimeout(silence_before)
