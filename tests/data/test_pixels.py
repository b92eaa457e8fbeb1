"""Pixels that are chosen from."""

from __future__ import annotations

import numpy as np

from reslab.data.pixels import Known, choose

PIXELS = np.arange(4 * 1 * 2 * 2, dtype=np.uint8).reshape(4, 1, 2, 2)
ROWS = np.array([3, 0])


class Far:
    """Not in memory."""

    known = Known(np.arange(4, dtype=np.uint32), np.arange(4)[:, None], np.arange(4)[:, None] ** 2)

    def choose(self, rows_M):
        return "chosen", rows_M.tolist()


def test_an_array_is_copied() -> None:
    chosen = choose(PIXELS, ROWS)
    np.testing.assert_array_equal(chosen, PIXELS[[3, 0]])
    assert not np.shares_memory(chosen, PIXELS)


def test_what_is_far_is_asked_to_choose() -> None:
    assert choose(Far(), ROWS) == ("chosen", [3, 0])


def test_what_is_known_of_some() -> None:
    known = Far.known.take(ROWS)
    assert known.checksums_N.tolist() == [3, 0]
    assert known.squares_NC.tolist() == [[9], [0]]
