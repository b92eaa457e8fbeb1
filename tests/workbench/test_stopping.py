"""Signals as a question."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from reslab.workbench.stopping import stop_on_signals


def test_the_first_signal_is_an_answer_the_second_acts() -> None:
    with stop_on_signals() as should_stop:
        assert not should_stop()
        os.kill(os.getpid(), signal.SIGINT)
        assert should_stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_handlers_are_put_back_after_an_error() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(RuntimeError), stop_on_signals():
        raise RuntimeError
    assert signal.getsignal(signal.SIGTERM) is before


def test_other_threads_are_never_told_to_stop() -> None:
    answers = []

    def work() -> None:
        with stop_on_signals() as should_stop:
            answers.append(should_stop())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert answers == [False]
