"""Which engines a piece of work may use: those of the machine, and what is kept of its net."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from reslab.engine.machine import Machine
from reslab.inference.catalog import REFERENCE, Entry, Obstacle, obstacle_to
from reslab.inference.int8 import Quantized

Stored = Callable[[], Quantized | Obstacle]
"""Gives the int8 model of the net, or why there is none; asked once, and only where it matters."""


def nothing_stored() -> Obstacle:
    """What is kept of a net that belongs to no run."""
    return Obstacle("there is no int8 model of this net", "`reslab quantize` makes one of a run")


class Offer:
    """The engines for one net on one machine.

    Args:
        device: ``cpu``, ``cuda`` or ``mps``.
        machine: what was found of it.
        stored: the int8 model of the net.
        are_logits: whether logits are wanted, and not an embedding.
    """

    def __init__(self, device: str, machine: Machine, stored: Stored, *, are_logits: bool) -> None:
        self._device = device
        self._machine = machine
        self._stored = stored
        self._are_logits = are_logits

    def obstacle(self, entry: Entry) -> Obstacle | None:
        """Why an engine cannot do this work, or None where it can."""
        found = obstacle_to(entry, self._device, self._machine.features)
        if found is not None or entry.precision != "int8":
            return found
        if not self._are_logits:
            return Obstacle("its model gives classes, not embeddings")
        return self._found if isinstance(self._found, Obstacle) else None

    def quantized(self) -> Quantized | None:
        """The int8 model, or None where there is none."""
        return None if isinstance(self._found, Obstacle) else self._found

    def describe_int8(self) -> str:
        """What whoever did not ask for int8 by its name should know of it, in a sentence."""
        found = self.quantized()
        assert found is not None
        return (
            f"int8 goes on, since the run was quantised: of {found.images:,} validation images "
            f"{found.changed:,} get another class than in fp32, which --engine {REFERENCE} keeps"
        )

    @cached_property
    def _found(self) -> Quantized | Obstacle:
        return self._stored()
