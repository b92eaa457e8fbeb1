"""A net at work: the engine is chosen for the work that is to be done, and may change with it.

Shape suffixes: ``N`` images, ``C`` channels, ``H`` and ``W`` rows and columns, ``D`` outputs.
"""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from torch import nn

from reslab.data.normalise import Normaliser
from reslab.data.pixels import Pixels
from reslab.engine.machine import Machine, inspect_machine
from reslab.engine.memory import is_out_of_memory, release
from reslab.engine.runtime import Runtime
from reslab.inference.catalog import AUTO, INT8, REFERENCE, SHORT, find_engine
from reslab.inference.eager import check_batch, compute_logits, usual_batch
from reslab.inference.mirrored import averaged
from reslab.inference.offer import Offer, Stored, nothing_stored
from reslab.inference.ready import Ready
from reslab.inference.selection import Selection


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
        flip: give the mean of what the net makes of an image and of its mirror image.
        machine: what was found; None: look.
        quantized: gives the int8 model that was made of the net.
        warn: told what went wrong with an engine; None: a Python warning.
        tell: told what was measured; None: nobody.

    Attributes:
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
        flip: bool = False,
        machine: Machine | None = None,
        quantized: Stored = nothing_stored,
        warn: Callable[[str], None] | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        check_batch(batch_size)
        machine = machine or inspect_machine()
        self._offer = Offer(runtime.device, machine, quantized, are_logits=are_logits)
        self._warn = warn or _warn
        self._selection = Selection(
            engine,
            model,
            runtime,
            machine,
            self._offer,
            warn=self._warn,
            tell=tell or (lambda _: None),
        )
        self._model = model
        self._normaliser = normaliser
        self._runtime = runtime
        self._flip = flip
        # Mirror images are computed one by one as well.
        self._left = images * (1 + flip)
        self._batch_size = batch_size
        self._are_logits = are_logits
        self._ready: Ready | None = None
        self._size = 0
        self._whole_batches = 0
        self.computed: Counter[str] = Counter()

    @property
    def engine(self) -> str:
        """The engine in use."""
        return self._selection.engine

    def outputs(self, pixels_NCHW: Pixels) -> npt.NDArray[np.float32]:
        """Outputs (N, D) of uint8 images (N, C, H, W), always of the same C, H and W.

        Raises:
            UserError: where memory is too short for a single image, or the engine that was asked
                for could not be made ready.
        """
        with self._runtime.active():
            if len(pixels_NCHW) == 0:
                return compute_logits(self._model, pixels_NCHW, self._normaliser, self._runtime)
            return averaged(self._outputs, pixels_NCHW, flip=self._flip)

    def prepare(self, pixels_NCHW: Pixels) -> None:
        """Make the engine ready for what ``outputs`` will be given first, as that would do itself.

        Raises:
            UserError: where the engine that was asked for could not be made ready.
        """
        if len(pixels_NCHW) > 0:
            with self._runtime.active():
                self._readied(pixels_NCHW)

    def _outputs(self, pixels_NCHW: Pixels) -> npt.NDArray[np.float32]:
        """Outputs (N, D) of some images as they are."""
        ready = self._readied(pixels_NCHW)
        parts = []
        done = 0
        while done < len(pixels_NCHW):
            found_ND = self._compute(ready, pixels_NCHW, done)
            parts.append(found_ND)
            done += len(found_ND)
            self._left -= len(found_ND)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _readied(self, pixels_NCHW: Pixels) -> Ready:
        self._left = max(self._left, len(pixels_NCHW))
        if self._ready is None:
            self._ready = self._begin(pixels_NCHW)
        return self._ready

    def _begin(self, pixels_NCHW: Pixels) -> Ready:
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
        self._selection.begin(ready, self._left)
        return ready

    def _compute(self, ready: Ready, pixels_NCHW: Pixels, done: int) -> npt.NDArray[np.float32]:
        """Outputs of the images that come next: of a batch, or of all by the net itself."""
        batch_NCHW = pixels_NCHW[done : done + self._size]
        name = self._engine_for(ready, len(batch_NCHW))
        if name != REFERENCE:
            began = time.perf_counter()
            # In int8 it is filled up: other classes may come of it than of fp32, for all alike.
            size = self._size if name == INT8 else len(batch_NCHW)
            try:
                found_ND = ready.outputs(name, batch_NCHW, size)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                self._warn(f"memory is too short for the engine {name}; the net itself goes on")
                self._selection.give_up(ready, name)
                release(self._runtime.device)
            else:
                self.computed[name] += len(batch_NCHW)
                if len(batch_NCHW) == self._size:
                    self._whole_batches += 1
                    if self._whole_batches == 2:
                        seconds = time.perf_counter() - began
                        self._selection.consider(ready, self._left - self._size, seconds)
                return found_ND
        self.computed[REFERENCE] += len(pixels_NCHW) - done
        return compute_logits(
            self._model,
            pixels_NCHW,
            self._normaliser,
            self._runtime,
            first=done,
            batch_size=self._size,
        )

    def _engine_for(self, ready: Ready, images: int) -> str:
        """The engine for a batch of so many."""
        name = self.engine
        if images == self._size or name == INT8 or find_engine(name).any_size:
            return name
        return SHORT if self._selection.add(ready, find_engine(SHORT)) else REFERENCE


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=2)
