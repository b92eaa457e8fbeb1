"""Which pictures are equal, and which nearly so.

Shape suffixes: ``N`` pictures, ``M`` some of them, ``R`` and ``C`` those of the rows and columns
of a table, ``S`` side of a small grey picture, ``X`` its pixels in a line, ``K`` directions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

# Least correlation of the grey levels of small pictures that count as nearly equal. Different
# parts of one photograph come to 0.87 at most, and copies that were saved again at low quality,
# scaled, brightened or cut by 2 % to 0.95 at least: tests/data/checks/test_duplicates.py.
_ALIKE = 0.95

# Pictures with less contrast than this, in grey levels, look alike whatever they show.
_LEAST_CONTRAST = 8.0

# Directions in which pictures differ most, by which most pairs are told apart.
_DIRECTIONS = 16

# Pictures by which these are found.
_SAMPLED = 10_000

# Rows and columns of the tables of pairs, which bound the memory.
_ROWS, _COLUMNS = 128, 16_384

# Of sums in float32, so that no pair is passed over by rounding.
_ROUNDING = 1e-4


def equal_pictures(digests: Sequence[bytes]) -> list[list[int]]:
    """Positions of pictures with equal digests, two or more each; empty ones are passed over."""
    by_digest: dict[bytes, list[int]] = defaultdict(list)
    for row, digest in enumerate(digests):
        if digest:
            by_digest[digest].append(row)
    return [rows for rows in by_digest.values() if len(rows) > 1]


def near_others(
    small_NSS: npt.NDArray[np.uint8], parts_N: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which pictures are nearly equal to one of another part, and which to one of their own.

    All are compared with all by the correlation of their grey levels, which brightness and
    contrast do not change. Most pairs need a few numbers only: the share of a correlation that
    lies in some directions, and the most that the rest could add. Nothing is lost by it. Of
    100,000 photographs it takes some six seconds; twice as many take four times as long.

    Args:
        small_NSS: small grey pictures.
        parts_N: number of the part that each belongs to, such as a split.
    """
    apart_N, together_N = np.zeros((2, len(small_NSS)), bool)
    for rows_R, columns_C in _near_tables(small_NSS, _with_contrast(small_NSS)):
        near_RC = _unit(small_NSS[rows_R]) @ _unit(small_NSS[columns_C]).T >= _ALIKE
        near_RC &= rows_R[:, None] != columns_C
        differ_RC = parts_N[rows_R][:, None] != parts_N[columns_C]
        for is_near_N, kind_RC in (
            (apart_N, near_RC & differ_RC),
            (together_N, near_RC > differ_RC),
        ):
            is_near_N[rows_R] |= kind_RC.any(axis=1)
            is_near_N[columns_C] |= kind_RC.any(axis=0)
    return apart_N, together_N


def _with_contrast(small_NSS: npt.NDArray[np.uint8]) -> npt.NDArray[np.intp]:
    """Positions of the pictures that can be told apart."""
    found = [
        first
        + np.flatnonzero(small_NSS[first : first + _COLUMNS].std(axis=(1, 2)) >= _LEAST_CONTRAST)
        for first in range(0, len(small_NSS), _COLUMNS)
    ]
    return np.concatenate(found) if found else np.empty(0, np.intp)


def _near_tables(
    small_NSS: npt.NDArray[np.uint8], clear_M: npt.NDArray[np.intp]
) -> Iterator[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    """Rows and columns of tables in which every pair lies that may be nearly equal."""
    if not len(clear_M):
        return
    sample_MX = _unit(small_NSS[clear_M[:: -(-len(clear_M) // _SAMPLED)]])
    # Ascending, so that the last is the one that differs most.
    directions_XK = np.linalg.eigh(sample_MX.T @ sample_MX)[1][:, -_DIRECTIONS:]
    short_MK = np.concatenate(
        [
            _unit(small_NSS[clear_M[first : first + _COLUMNS]]) @ directions_XK
            for first in range(0, len(clear_M), _COLUMNS)
        ]
    )
    order = np.argsort(short_MK[:, -1])
    clear_M, short_MK = clear_M[order], short_MK[order]
    leading_M = short_MK[:, -1]
    # For unit vectors: x y <= sum of the products in the directions + product of what is left.
    left_M = np.sqrt(np.maximum(0, 1 - np.square(short_MK).sum(axis=1)))
    bound_MK = np.concatenate([short_MK, left_M[:, None]], axis=1)
    # Pictures that are alike are no further apart than this, in any direction.
    reach = np.sqrt(2 - 2 * _ALIKE) + _ROUNDING
    for first in range(0, len(clear_M), _ROWS):
        last = min(first + _ROWS, len(clear_M))
        end = int(np.searchsorted(leading_M, leading_M[last - 1] + reach, side="right"))
        for start in range(first, end, _COLUMNS):
            stop = min(start + _COLUMNS, end)
            may_be_RC = bound_MK[first:last] @ bound_MK[start:stop].T >= _ALIKE - _ROUNDING
            rows, columns = may_be_RC.any(axis=1), may_be_RC.any(axis=0)
            if rows.any():
                yield clear_M[first:last][rows], clear_M[start:stop][columns]


def _unit(small_MSS: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """(M, X): grey levels about their mean, of length 1, so that products are correlations."""
    levels_MX = small_MSS.reshape(len(small_MSS), -1).astype(np.float32)
    levels_MX -= levels_MX.mean(axis=1, keepdims=True)
    levels_MX /= np.linalg.norm(levels_MX, axis=1, keepdims=True)
    return levels_MX
