"""Engines that were made ready for one net and one shape of batch, and found to agree.

Shape suffixes: ``N`` images, ``C`` channels, ``H`` and ``W`` rows and columns, ``D`` outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from reslab.data.normalise import Normaliser
from reslab.data.pixels import Pixels
from reslab.engine.memory import is_out_of_memory
from reslab.engine.runtime import Runtime
from reslab.errors import UserError
from reslab.inference.agreement import ROWS, disagreement
from reslab.inference.catalog import REFERENCE, Entry, load_engine
from reslab.inference.eager import compute_logits
from reslab.inference.engine import Forward, fill_up
from reslab.inference.int8 import Quantized


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of making an engine ready.

    Attributes:
        failure: why the net could not be prepared; empty where it was.
        lasts: whether it would fail again, so that it need not be tried again.
        disagreement: in what it differs from the reference; empty where it agrees.
    """

    failure: str = ""
    lasts: bool = True
    disagreement: str = ""

    @property
    def is_good(self) -> bool:
        """Whether the engine may be used."""
        return not self.failure and not self.disagreement

    def error(self, entry: Entry) -> UserError:
        """What to tell whoever asked for that engine and no other."""
        what = f"the engine {entry.name} could not be made ready"
        if not self.lasts:
            what = f"there is too little memory to make the engine {entry.name} ready"
        return UserError(what, received=self.failure, remedy=entry.remedy)


def reason_of(error: Exception) -> str:
    """What an error says, in a line: its first paragraph, and what a compiler complained of.

    >>> reason_of(ValueError(" no such  operator "))
    'no such operator'
    """
    first, _, rest = str(error).strip().partition("\n\n")
    complaints = [line for line in rest.splitlines() if " error: " in line]
    text = ": ".join(" ".join(part.split()) for part in (first, *complaints[:1]))
    return text[:300] or type(error).__name__


class Ready:
    """The engines of one net.

    Args:
        model: the net, in evaluation mode whenever a method is called.
        pixels_NCHW: images, one at least, of which the first are what engines are compared on.
        normaliser: that of the net's training.
        runtime: device, layout and threads, active whenever a method is called.
        batch_size: images of a whole batch.
        are_logits: whether the net gives logits.
        quantized: gives the int8 model of the net, where there is one.

    Attributes:
        batch_size: images of a whole batch.
        shape: that of a whole batch, (N, C, H, W).
        forwards: by name, what may be used.
    """

    def __init__(
        self,
        model: nn.Module,
        pixels_NCHW: Pixels,
        normaliser: Normaliser,
        runtime: Runtime,
        *,
        batch_size: int,
        are_logits: bool = True,
        quantized: Callable[[], Quantized | None] = lambda: None,
    ) -> None:
        self._model = model
        # Copied, so that a caller's whole array is not held by its first rows.
        self._sample_NCHW = pixels_NCHW[: max(batch_size, *ROWS.values())].copy()
        self._normaliser = normaliser
        self._runtime = runtime
        self.batch_size = batch_size
        self.shape = (batch_size, *pixels_NCHW.shape[1:])
        self._are_logits = are_logits
        self._quantized = quantized
        self._reference_ND: npt.NDArray[np.float32] = np.empty((0, 0), np.float32)
        self.forwards: dict[str, Forward] = {}

    def add(self, entry: Entry) -> Outcome:
        """Prepare an engine and compare it with the reference."""
        compared = min(len(self._sample_NCHW), ROWS[entry.precision])
        size = min(compared, self.batch_size) if entry.any_size else self.batch_size
        try:
            # The model may be large, and is read for the engine alone that runs it.
            quantized = self._quantized() if entry.precision == "int8" else None
            engine = load_engine(entry, quantized)
            forward = engine.prepare(self._model, self._batch(0, size), self._runtime)
            wrong = ""
            if entry.name != REFERENCE:
                found = [forward(self._batch(i, size)).numpy() for i in range(0, compared, size)]
                judged = (quantized.changed, quantized.images) if quantized else (0, 0)
                wrong = self._disagreement(entry, np.concatenate(found)[:compared], judged)
        except Exception as error:  # noqa: BLE001 - whatever it is, there are other engines
            return Outcome(failure=reason_of(error), lasts=not is_out_of_memory(error))
        if not wrong:
            self.forwards[entry.name] = forward
        return Outcome(disagreement=wrong)

    def outputs(
        self, name: str, pixels_NCHW: npt.NDArray[np.uint8], size: int
    ) -> npt.NDArray[np.float32]:
        """What an engine gives for at most ``size`` images, filled up to so many."""
        images_NCHW = self._normaliser(fill_up(pixels_NCHW, size))
        found_ND: npt.NDArray[np.float32] = self.forwards[name](images_NCHW).numpy()
        return found_ND[: len(pixels_NCHW)]

    def calls(self) -> dict[str, Callable[[], Tensor]]:
        """A call of each engine on a whole batch, to be timed."""
        images_NCHW = self._batch(0, self.batch_size)
        return {name: partial(forward, images_NCHW) for name, forward in self.forwards.items()}

    def keep(self, names: Iterable[str]) -> None:
        """Let go of all other engines."""
        self.forwards = {name: self.forwards[name] for name in names if name in self.forwards}

    def _disagreement(
        self, entry: Entry, found_ND: npt.NDArray[np.float32], expected: tuple[int, int]
    ) -> str:
        if len(self._reference_ND) < len(found_ND):
            self._reference_ND = compute_logits(
                self._model,
                self._sample_NCHW[: len(found_ND)],
                self._normaliser,
                self._runtime,
                batch_size=self.batch_size,
            )
        reference_ND = self._reference_ND[: len(found_ND)]
        if not np.isfinite(reference_ND).all():
            return "there is nothing to compare it with, since the net's outputs are not finite"
        return disagreement(
            reference_ND,
            found_ND,
            precision=entry.precision,
            are_logits=self._are_logits,
            expected=expected,
        )

    def _batch(self, first: int, size: int) -> Tensor:
        """Normalised images (size, C, H, W) of the sample, over and over where there are fewer."""
        return self._normaliser(fill_up(self._sample_NCHW[first : first + size], size))
