"""Which engine does the work: what was measured of all, and the one that was taken."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from torch import nn

from reslab.engine.load import Load
from reslab.engine.machine import Machine
from reslab.engine.runtime import Runtime
from reslab.inference import memo
from reslab.inference.catalog import (
    AUTO,
    ENGINES,
    INT8,
    MEASURE,
    REFERENCE,
    SHORT,
    Entry,
    check_engine,
    check_usable,
    find_engine,
)
from reslab.inference.choose import ROUNDS_SHARE, best_known, worth_trying
from reslab.inference.engine import evaluation_mode
from reslab.inference.memo import Measured
from reslab.inference.offer import Offer
from reslab.inference.ready import Ready
from reslab.inference.trial import time_in_turns

# Seconds of rounds where measuring was asked for.
_MEASURE_SECONDS = 20.0


class Selection:
    """Takes an engine for a net's work, and another where that pays.

    Args:
        asked: a name of ``reslab.inference.catalog.ENGINES``, ``auto`` or ``measure``.
        model: the net.
        runtime: device, layout and threads.
        machine: what was found.
        offer: says what can be used here.
        warn: told what went wrong with an engine.
        tell: told what was measured.

    Attributes:
        engine: the engine in use.

    Raises:
        UserError: for an engine that is unknown or cannot be used here.
    """

    def __init__(
        self,
        asked: str,
        model: nn.Module,
        runtime: Runtime,
        machine: Machine,
        offer: Offer,
        *,
        warn: Callable[[str], None],
        tell: Callable[[str], None],
    ) -> None:
        self._asked = check_engine(asked)
        if asked not in (AUTO, MEASURE):
            check_usable(find_engine(asked), offer.obstacle(find_engine(asked)))
        self._model = model
        self._runtime = runtime
        self._machine = machine
        self._offer = offer
        self._warn = warn
        self._tell = tell
        self._refused: set[str] = set()
        self._measured: dict[str, Measured] = {}
        self._setup_seconds: dict[str, float] = {}
        self._key = ""
        self.engine = REFERENCE

    def begin(self, ready: Ready, images: int) -> None:
        """Find the engine to begin with.

        Args:
            ready: where engines are made ready.
            images: to be computed in all.

        Raises:
            UserError: where the engine that was asked for could not be made ready.
        """
        if self._asked in (AUTO, MEASURE):
            self._key = memo.key_of(self._model, ready.shape, self._runtime, self._machine)
            self._measured = memo.recall(self._key)
        if self._asked == MEASURE:
            self._measured = {}
            self._measure(ready, ENGINES, images, _MEASURE_SECONDS)
        elif self._asked == AUTO:
            self._take_cheapest(ready, images)
        else:
            self._take(ready, find_engine(self._asked))

    def consider(self, ready: Ready, images: int, batch_seconds: float) -> None:
        """Measure engines of which nothing is known, as far as the rest of the work is worth it.

        Args:
            ready: where engines are made ready.
            images: that are left.
            batch_seconds: what a batch takes with the engine in use.
        """
        if self._asked != AUTO:
            return
        seconds_left = batch_seconds * images / ready.batch_size
        untried = [
            entry
            for entry in ENGINES
            if entry.name not in self._measured and entry.name not in self._refused
            if self._is_usable(entry)
        ]
        convolutions = sum(isinstance(m, nn.Conv2d) for m in self._model.modules())
        entries = worth_trying(untried, convolutions, seconds_left)
        if any(entry.name not in ready.forwards for entry in entries if entry.name != REFERENCE):
            self._measure(ready, entries, images, ROUNDS_SHARE * seconds_left)

    def give_up(self, ready: Ready, name: str) -> None:
        """Never use an engine again, and go on with the net itself."""
        self._refused.add(name)
        self.engine = REFERENCE
        ready.keep([])

    def add(self, ready: Ready, entry: Entry) -> bool:
        """Make an engine ready unless it is; whether it may be used.

        Raises:
            UserError: where it cannot be, and is the one that was asked for.
        """
        if entry.name in ready.forwards:
            return True
        # Times that are remembered may be of a run that has an int8 model where this one has none.
        if entry.name in self._refused or not self._is_usable(entry):
            self._refused.add(entry.name)
            return False
        began = time.perf_counter()
        with evaluation_mode(self._model):
            outcome = ready.add(entry)
        if outcome.is_good:
            self._setup_seconds[entry.name] = time.perf_counter() - began
            return True
        if outcome.failure and entry.name == self._asked:
            raise outcome.error(entry)
        self._refused.add(entry.name)
        if outcome.failure:
            # Of int8 it is a fault of one run's model, and not of the architecture.
            if outcome.lasts and entry.name != INT8:
                self._measured[entry.name] = Measured(
                    failure=outcome.failure, failed_at=time.time()
                )
            self._tell(f"engine {entry.name}: could not be made ready: {outcome.failure}")
        else:
            self._warn(
                f"the engine {entry.name} is left out: {outcome.disagreement}, compared with the "
                "net itself"
            )
        return False

    def _measure(self, ready: Ready, entries: Sequence[Entry], images: int, seconds: float) -> None:
        """Make engines ready, time them, keep what was found and take the best."""
        for entry in entries:
            self.add(ready, entry)
        # Only of the rounds: a compiler at work is another process too, and no stranger.
        load = Load()
        with evaluation_mode(self._model):
            times = time_in_turns(ready.calls(), seconds=seconds)
        for name, batch_seconds in times.items():
            setup = self._setup_seconds[name]
            self._measured[name] = Measured(setup_seconds=setup, batch_seconds=batch_seconds)
            self._tell(
                f"engine {name}: {setup:.2f} s to prepare, {1e3 * batch_seconds:.2f} ms for "
                f"a batch of {ready.batch_size}"
            )
        crowd = load.describe(self._runtime.threads) if self._runtime.device == "cpu" else ""
        if crowd:
            self._tell(f"{crowd}, so that these times are not kept for the next time")
        else:
            memo.remember(self._key, self._measured)
        self._take_cheapest(ready, images)
        ready.keep([self.engine, SHORT])

    def _is_usable(self, entry: Entry) -> bool:
        obstacle = self._offer.obstacle(entry)
        if obstacle is not None and obstacle.is_news and entry.name not in self._refused:
            self._warn(f"{obstacle.reason}; {obstacle.remedy}")
            self._refused.add(entry.name)
        return obstacle is None

    def _take_cheapest(self, ready: Ready, images: int) -> None:
        """Use what will have done the rest soonest, as far as that is known."""
        # Where measuring was asked for, preparing does not count.
        batches = 1e9 if self._asked == MEASURE else images / ready.batch_size
        while True:
            names = {entry.name for entry in ENGINES} - self._refused
            name = best_known(self._measured, names, images, batches, ready.forwards)
            if self._take(ready, find_engine(name)):
                return

    def _take(self, ready: Ready, entry: Entry) -> bool:
        """Use an engine, or the reference in its stead; whether it is the engine."""
        # The reference needs no preparing.
        good = entry.name == REFERENCE or self.add(ready, entry)
        if good and entry.name == INT8 and INT8 not in (self._asked, self.engine):
            self._tell(self._offer.describe_int8())
        self.engine = entry.name if good else REFERENCE
        return good
