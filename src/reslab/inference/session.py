"""A net at work: the engine is chosen for the work that is to be done, and may change with it.

Shape suffixes: ``N`` images, ``C`` channels, ``H`` and ``W`` rows and columns, ``D`` outputs.
"""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from torch import nn

from reslab.data.normalise import Normaliser
from reslab.engine.load import Load
from reslab.engine.machine import Machine, inspect_machine
from reslab.engine.memory import is_out_of_memory, release
from reslab.engine.runtime import Runtime
from reslab.inference import memo
from reslab.inference.catalog import (
    AUTO,
    ENGINES,
    INT8,
    MEASURE,
    REFERENCE,
    Entry,
    check_engine,
    check_usable,
    find_engine,
)
from reslab.inference.choose import ROUNDS_SHARE, best_known, worth_trying
from reslab.inference.eager import check_batch, compute_logits, usual_batch
from reslab.inference.engine import evaluation_mode
from reslab.inference.memo import Measured
from reslab.inference.offer import Offer, Stored, nothing_stored
from reslab.inference.ready import Ready
from reslab.inference.trial import time_in_turns

# Computes what is no whole batch where the engine in use takes whole ones only.
_SHORT = "folded"

# Seconds of rounds where measuring was asked for.
_MEASURE_SECONDS = 20.0


class Session:
    """Computes a net's outputs for any number of images, in one call or many.

    With ``auto``, work begins at once: with what an earlier measurement of the same net and batch
    on this machine says is soonest done, else with the net itself (few images) or folded. Where
    the second batch shows that the rest will take long, the other engines are measured as far as
    that costs a small part of it, the fastest does the rest, and the times are kept for the next
    time, unless others were at work on the CPUs. Each engine's outputs are compared with the net's
    own before it is used.

    Args:
        model: the net, on ``runtime.device``. Its modes are put back after each call.
        normaliser: that of the net's training.
        runtime: device, layout and threads; its precision is that of training and not used.
        engine: a name of ``reslab.inference.catalog.ENGINES``, ``auto``, or ``measure`` to
            measure all that can be used, whatever it takes.
        images: how many will come in all calls together; 0: those of the first call.
        batch_size: images of a batch; None: as many as are usual for their size.
        are_logits: whether the net gives logits, and not an embedding.
        machine: what was found; None: look.
        quantized: gives the int8 model that was made of the net.
        warn: told what went wrong with an engine; None: a Python warning.
        tell: told what was measured; None: nobody.

    Attributes:
        engine: the engine in use.
        computed: by engine, the images that it has computed.

    Raises:
        UserError: for an engine that is unknown or cannot be used here, or a batch of no images.
    """

    def __init__(
        self,
        model: nn.Module,
        normaliser: Normaliser,
        runtime: Runtime,
        *,
        engine: str = AUTO,
        images: int = 0,
        batch_size: int | None = None,
        are_logits: bool = True,
        machine: Machine | None = None,
        quantized: Stored = nothing_stored,
        warn: Callable[[str], None] | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        check_batch(batch_size)
        self._asked = check_engine(engine)
        self._machine = machine or inspect_machine()
        self._offer = Offer(runtime.device, self._machine, quantized, are_logits=are_logits)
        if engine not in (AUTO, MEASURE):
            check_usable(find_engine(engine), self._offer.obstacle(find_engine(engine)))
        self._model = model
        self._normaliser = normaliser
        self._runtime = runtime
        self._left = images
        self._batch_size = batch_size
        self._are_logits = are_logits
        self._warn = warn or _warn
        self._tell = tell or (lambda _: None)
        self._ready: Ready | None = None
        self._refused: set[str] = set()
        self._measured: dict[str, Measured] = {}
        self._setup_seconds: dict[str, float] = {}
        self._key = ""
        self._size = 0
        self._whole_batches = 0
        self.engine = REFERENCE
        self.computed: Counter[str] = Counter()

    def outputs(self, pixels_NCHW: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Outputs (N, D) of uint8 images (N, C, H, W), always of the same C, H and W.

        Raises:
            UserError: where memory is too short for a single image, or the engine that was asked
                for could not be made ready.
        """
        with self._runtime.active():
            if len(pixels_NCHW) == 0:
                return compute_logits(self._model, pixels_NCHW, self._normaliser, self._runtime)
            ready = self._readied(pixels_NCHW)
            parts = []
            done = 0
            while done < len(pixels_NCHW):
                found_ND = self._compute(ready, pixels_NCHW[done:])
                parts.append(found_ND)
                done += len(found_ND)
                self._left -= len(found_ND)
            return np.concatenate(parts)

    def prepare(self, pixels_NCHW: npt.NDArray[np.uint8]) -> None:
        """Make the engine ready for what ``outputs`` will be given first, as that would do itself.

        Raises:
            UserError: where the engine that was asked for could not be made ready.
        """
        if len(pixels_NCHW) > 0:
            with self._runtime.active():
                self._readied(pixels_NCHW)

    def _readied(self, pixels_NCHW: npt.NDArray[np.uint8]) -> Ready:
        self._left = max(self._left, len(pixels_NCHW))
        if self._ready is None:
            self._ready = self._begin(pixels_NCHW)
        return self._ready

    def _compute(self, ready: Ready, pixels_NCHW: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Outputs of the first images: of a batch, or of all by the net itself."""
        batch_NCHW = pixels_NCHW[: self._size]
        name = self.engine
        is_whole = len(batch_NCHW) == self._size
        # In int8 it is filled up: other classes may come of it than of fp32, for all alike.
        if not is_whole and not find_engine(name).any_size and name != INT8:
            name = _SHORT if self._add(ready, find_engine(_SHORT)) else REFERENCE
        if name != REFERENCE:
            began = time.perf_counter()
            size = self._size if name == INT8 else len(batch_NCHW)
            try:
                found_ND = ready.outputs(name, batch_NCHW, size)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                self._warn(f"memory is too short for the engine {name}; the net itself goes on")
                self._refused.add(name)
                self.engine = REFERENCE
                ready.keep([])
                release(self._runtime.device)
            else:
                if is_whole and self._asked == AUTO:
                    self._whole_batches += 1
                    if self._whole_batches == 2:
                        seconds = time.perf_counter() - began
                        self._consider(ready, seconds)
                self.computed[name] += len(batch_NCHW)
                return found_ND
        self.computed[REFERENCE] += len(pixels_NCHW)
        return compute_logits(
            self._model, pixels_NCHW, self._normaliser, self._runtime, batch_size=self._size
        )

    def _begin(self, pixels_NCHW: npt.NDArray[np.uint8]) -> Ready:
        """Find the engine to begin with."""
        self._size = min(self._batch_size or usual_batch(*pixels_NCHW.shape[2:]), self._left)
        ready = Ready(
            self._model,
            pixels_NCHW,
            self._normaliser,
            self._runtime,
            batch_size=self._size,
            are_logits=self._are_logits,
            quantized=self._offer.quantized,
        )
        if self._asked in (AUTO, MEASURE):
            shape = (self._size, *pixels_NCHW.shape[1:])
            self._key = memo.key_of(self._model, shape, self._runtime, self._machine)
            self._measured = memo.recall(self._key)
        if self._asked == MEASURE:
            self._measured = {}
            self._measure(ready, ENGINES, _MEASURE_SECONDS)
        elif self._asked == AUTO:
            self._take_cheapest(ready)
        else:
            self._take(ready, find_engine(self._asked))
        return ready

    def _consider(self, ready: Ready, batch_seconds: float) -> None:
        """Measure engines of which nothing is known, as far as the rest of the work is worth it."""
        seconds_left = batch_seconds * (self._left / self._size - 1)
        untried = [
            entry
            for entry in ENGINES
            if entry.name not in self._measured and entry.name not in self._refused
            if self._is_usable(entry)
        ]
        convolutions = sum(isinstance(m, nn.Conv2d) for m in self._model.modules())
        entries = worth_trying(untried, convolutions, seconds_left)
        if any(entry.name not in ready.forwards for entry in entries if entry.name != REFERENCE):
            self._measure(ready, entries, ROUNDS_SHARE * seconds_left)

    def _measure(self, ready: Ready, entries: Sequence[Entry], seconds: float) -> None:
        """Make engines ready, time them, keep what was found and take the best."""
        for entry in entries:
            self._add(ready, entry)
        # Only of the rounds: a compiler at work is another process too, and no stranger.
        load = Load()
        with evaluation_mode(self._model):
            times = time_in_turns(ready.calls(), seconds=seconds)
        for name, batch_seconds in times.items():
            setup = self._setup_seconds[name]
            self._measured[name] = Measured(setup_seconds=setup, batch_seconds=batch_seconds)
            self._tell(
                f"engine {name}: {setup:.2f} s to prepare, {1e3 * batch_seconds:.2f} ms for "
                f"a batch of {self._size}"
            )
        crowd = load.describe(self._runtime.threads) if self._runtime.device == "cpu" else ""
        if crowd:
            self._tell(f"{crowd}, so that these times are not kept for the next time")
        else:
            memo.remember(self._key, self._measured)
        self._take_cheapest(ready)
        ready.keep([self.engine, _SHORT])

    def _is_usable(self, entry: Entry) -> bool:
        obstacle = self._offer.obstacle(entry)
        if obstacle is not None and obstacle.is_news and entry.name not in self._refused:
            self._warn(f"{obstacle.reason}; {obstacle.remedy}")
            self._refused.add(entry.name)
        return obstacle is None

    def _take_cheapest(self, ready: Ready) -> None:
        """Use what will have done the rest soonest, as far as that is known."""
        # Where measuring was asked for, preparing does not count.
        batches = 1e9 if self._asked == MEASURE else self._left / self._size
        while True:
            names = {entry.name for entry in ENGINES} - self._refused
            name = best_known(self._measured, names, self._left, batches, ready.forwards)
            if self._take(ready, find_engine(name)):
                return

    def _take(self, ready: Ready, entry: Entry) -> bool:
        """Use an engine, or the reference in its stead; whether it is the engine."""
        # The reference needs no preparing.
        good = entry.name == REFERENCE or self._add(ready, entry)
        if good and entry.name == INT8 and INT8 not in (self._asked, self.engine):
            self._tell(self._offer.describe_int8())
        self.engine = entry.name if good else REFERENCE
        return good

    def _add(self, ready: Ready, entry: Entry) -> bool:
        """Make an engine ready unless it is; whether it may be used."""
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


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=2)
