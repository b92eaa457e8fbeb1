"""Which pictures are equal, and which nearly so.

Shape suffixes: ``N`` pictures, ``S`` side of a small grey picture.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

# Least correlation of the grey levels of small pictures that count as nearly equal. Different
# parts of one photograph come to 0.87 at most, and copies that were saved again at low quality,
# scaled, brightened or cut by 2 % to 0.95 at least: tests/data/test_duplicates.py.
_ALIKE = 0.95

# Pictures with less contrast than this, in grey levels, look alike whatever they show.
_LEAST_CONTRAST = 8.0

# Pictures that are compared with all others at once.
_PIECE = 1024


def equal_pictures(digests: Sequence[bytes]) -> list[list[int]]:
    """Positions of pictures with equal digests, two or more each; empty ones are passed over."""
    by_digest: dict[bytes, list[int]] = defaultdict(list)
    for row, digest in enumerate(digests):
        if digest:
            by_digest[digest].append(row)
    return [rows for rows in by_digest.values() if len(rows) > 1]


def near_pairs(small_NSS: npt.NDArray[np.uint8]) -> list[tuple[int, int]]:
    """Pairs of positions, the smaller first, of pictures that are nearly equal.

    All are compared with all by the correlation of their grey levels, which brightness and
    contrast do not change: of 50,000 pictures that takes some ten seconds.

    Args:
        small_NSS: small grey pictures.
    """
    if len(small_NSS) == 0:
        return []
    levels_NX = small_NSS.reshape(len(small_NSS), -1).astype(np.float32)
    levels_NX -= levels_NX.mean(axis=1, keepdims=True)
    clear = np.flatnonzero(levels_NX.std(axis=1) >= _LEAST_CONTRAST)
    unit_MX = levels_NX[clear]
    unit_MX /= np.linalg.norm(unit_MX, axis=1, keepdims=True)
    found: list[tuple[int, int]] = []
    for first in range(0, len(unit_MX), _PIECE):
        alike = unit_MX[first : first + _PIECE] @ unit_MX[first:].T >= _ALIKE
        rows, others = np.nonzero(np.triu(alike, k=1))
        found += zip(clear[rows + first].tolist(), clear[others + first].tolist(), strict=True)
    return found
