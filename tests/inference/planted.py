"""Engines that are not in the catalogue, to see what is made of their faults, and work for them."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch

from reslab.data.normalise import Normaliser
from reslab.engine.runtime import Runtime
from reslab.inference import selection, session
from reslab.inference.catalog import Entry
from reslab.inference.eager import Eager, compute_logits
from reslab.inference.folded import Folded
from reslab.inference.int8 import Quantized
from reslab.inference.session import Session
from reslab.models.resnet import ResNet

PIXELS = np.random.default_rng(0).integers(0, 256, (64, 3, 5, 5)).astype(np.uint8)
NORMALISER = Normaliser((0.5,) * 3, (0.2,) * 3)


def planted(kind: str, **options: object) -> Entry:
    where = f"tests.inference.planted:{kind}"
    return Entry(name=kind.lower(), where=where, what="", **{"setup": (0.0, 0.0), **options})


def expected(model: ResNet, pixels: np.ndarray = PIXELS) -> np.ndarray:
    return compute_logits(model, pixels, NORMALISER, Runtime())


def opened(model: ResNet, **options: object) -> Session:
    return Session(model, NORMALISER, Runtime(), **{"batch_size": 4, **options})


def check(found: np.ndarray, model: ResNet, count: int = 64) -> None:
    np.testing.assert_allclose(found, expected(model)[:count], rtol=1e-4, atol=1e-5)


def counted(changed: int = 64) -> Quantized:
    """A model as a run has it stored, judged on 64 images."""
    return Quantized(b"", b"", changed=changed, images=64)


def name_int8(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for module in (selection, session):
        monkeypatch.setattr(module, "INT8", name)


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
