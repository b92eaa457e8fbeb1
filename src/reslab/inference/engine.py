"""What an engine is: it prepares a net for batches of one shape.

Shape suffixes: ``N`` images, ``C`` channels, ``H`` and ``W`` rows and columns, ``D`` outputs:
the classes, or the numbers of an embedding.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from reslab.engine.runtime import Runtime
from reslab.errors import ReslabError

Forward = Callable[[Tensor], Tensor]
"""From normalised images (N, C, H, W), float32, contiguous on the CPU, to outputs (N, D),
float32 on the CPU. N is that of the images it was prepared with, and may be any other only where
the engine's entry in the catalogue says ``any_size``."""


class Engine(Protocol):
    """A way to compute what a net gives."""

    def obstacle(self) -> str:
        """Why it cannot work here although its packages and its device are there; else empty."""

    def prepare(self, model: nn.Module, images_NCHW: Tensor, runtime: Runtime) -> Forward:
        """Make the net ready for batches like these, and compute one, so that it is warm.

        Weights, layout and modes of the net stay as they are, and later changes of its weights
        need not reach what was prepared.

        Args:
            model: the net, in evaluation mode, on ``runtime.device``.
            images_NCHW: a batch as ``Forward`` takes it.
            runtime: device, layout and threads, active.
        """


@contextlib.contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Within the context the net is in evaluation mode; afterwards each module as it was found.

    Raises:
        ReslabError: where a part of the model stays in training mode, in which batch norm
            would make an image's outputs depend on its neighbours.
    """
    training = [module for module in model.modules() if module.training]
    try:
        if training:
            model.eval()
            if any(module.training for module in model.modules()):
                raise ReslabError("a part of the net cannot be put into evaluation mode")
        yield
    finally:
        for module in training:
            module.training = True


def fill_up(pixels_NCHW: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """As many images as an engine takes: those that there are, over and over."""
    if len(pixels_NCHW) == size:
        return pixels_NCHW
    return np.resize(pixels_NCHW, (size, *pixels_NCHW.shape[1:]))
