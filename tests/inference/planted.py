"""Engines that are not in the catalogue, to see what is made of their faults."""

from __future__ import annotations

from typing import ClassVar

import torch

from reslab.inference.eager import Eager
from reslab.inference.folded import Folded


class Wrong(Folded):
    """Its outputs are those of other weights."""

    def prepare(self, model, images_NCHW, runtime):
        """See ``Engine``."""
        forward = super().prepare(model, images_NCHW, runtime)
        return lambda images_NCHW: forward(images_NCHW) * 1.01


class Incapable(Eager):
    """Cannot take any net."""

    def __init__(self, quantized=None):
        del quantized

    def prepare(self, model, images_NCHW, runtime):
        """See ``Engine``."""
        raise NotImplementedError("operator\n  not supported")


class Starving(Eager):
    """Finds no memory for any net."""

    def prepare(self, model, images_NCHW, runtime):
        """See ``Engine``."""
        raise torch.OutOfMemoryError("out of memory")


class Static(Folded):
    """Counts what it is given, and takes whole batches only."""

    sizes: ClassVar[list[int]] = []

    def prepare(self, model, images_NCHW, runtime):
        """See ``Engine``."""
        forward = super().prepare(model, images_NCHW, runtime)
        size = len(images_NCHW)

        def checked(images_NCHW):
            assert len(images_NCHW) == size
            self.sizes.append(size)
            return forward(images_NCHW)

        return checked


class Turned(Static):
    """Takes a model in int8, and gives what is opposite to the net's outputs."""

    sizes: ClassVar[list[int]] = []

    def __init__(self, quantized=None):
        self._quantized = quantized

    def prepare(self, model, images_NCHW, runtime):
        """See ``Engine``."""
        assert self._quantized is not None
        forward = super().prepare(model, images_NCHW, runtime)
        return lambda images_NCHW: -forward(images_NCHW)


class Greedy(Folded):
    """Finds no memory after its first three calls."""

    def prepare(self, model, images_NCHW, runtime):
        """See ``Engine``."""
        forward = super().prepare(model, images_NCHW, runtime)
        left = [3]

        def limited(images_NCHW):
            left[0] -= 1
            if left[0] < 0:
                raise torch.OutOfMemoryError("out of memory")
            return forward(images_NCHW)

        return limited
