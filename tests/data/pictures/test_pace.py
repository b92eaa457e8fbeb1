"""When it is told how far decoding is, and what."""

from __future__ import annotations

import logging

import pytest

from reslab.data.pictures import pace


def test_it_is_told_now_and_then(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    monkeypatch.setattr(pace.time, "monotonic", lambda: now[0])
    teller = pace.Pace()
    with caplog.at_level(logging.INFO, "reslab"):
        for step in range(1, 13):
            now[0] = float(step)
            teller.tell(100 * step, 1200)
    assert caplog.messages == [
        "decoded 600 of 1,200 pictures, 100/s, 0:06 left",
        "decoded 1,100 of 1,200 pictures, 100/s, 0:01 left",
    ]
