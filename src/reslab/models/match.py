"""Which tensor of a file goes where in a net: decided before anything is changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

Fate = Literal["loaded", "adapted", "kept", "left out"]

# The layers that may differ from those that were trained, in every net of the family.
STEM, HEAD = "conv1.weight", ("fc.weight", "fc.bias")


@dataclass(frozen=True, kw_only=True)
class TensorFate:
    """What became of one tensor.

    Attributes:
        name: in the net or in the file.
        fate: ``loaded`` as it is; ``adapted`` to another shape; ``kept``: the net's own stays;
            ``left out``: the net has no use for the file's.
        why: a short reason, empty for what was loaded.
    """

    name: str
    fate: Fate
    why: str = ""


def match(
    own: Mapping[str, Tensor], found: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], list[TensorFate]]:
    """Decide for each tensor of a net and of a file what becomes of it; nothing is changed.

    Returns:
        The tensors to copy, of the net's shapes, and what became of each.
    """
    chosen: dict[str, Tensor] = {}
    fates = []
    # A head is taken whole or not at all.
    takes_head = all(
        name in own and name in found and found[name].shape == own[name].shape for name in HEAD
    )
    for name, tensor in own.items():
        given = found.get(name)
        fits = given is not None and given.shape == tensor.shape
        if given is not None and fits and (takes_head or name not in HEAD):
            chosen[name] = given
            fates.append(TensorFate(name=name, fate="loaded"))
        elif given is not None and name == STEM and _differ_in_channels(tensor, given):
            chosen[name] = adapt_channels(given, tensor.shape[1])
            how = "summed over" if tensor.shape[1] == 1 else "repeated from"
            why = f"{how} {given.shape[1]} channels to {tensor.shape[1]}"
            fates.append(TensorFate(name=name, fate="adapted", why=why))
        else:
            fates.append(TensorFate(name=name, fate="kept", why=_why_kept(name, tensor, given)))
    fates += [
        TensorFate(name=name, fate="left out", why="the net has no such tensor")
        for name in sorted(found)
        if name not in own
    ]
    return chosen, fates


def adapt_channels(weight_OCHW: Tensor, channels: int) -> Tensor:
    """A first convolution's weight for images of other channels.

    Grey images get the sum over the old channels, which gives what grey pictures as equal
    channels would have given; others get them in turn, scaled so that the sum stays.

    Args:
        weight_OCHW: (out channels, old channels, rows, columns).
        channels: the new number.
    """
    old = weight_OCHW.shape[1]
    if channels == 1:
        return weight_OCHW.sum(dim=1, keepdim=True)
    repeats = -(-channels // old)
    repeated_OCHW = weight_OCHW.repeat(1, repeats, 1, 1)[:, :channels]
    return repeated_OCHW * (old / channels)


def _differ_in_channels(own: Tensor, given: Tensor) -> bool:
    return own.ndim == given.ndim == 4 and (
        own.shape[0] == given.shape[0] and own.shape[2:] == given.shape[2:] and given.numel() > 0
    )


def _why_kept(name: str, own: Tensor, given: Tensor | None) -> str:
    if given is None:
        return "not in the file"
    if name in HEAD and given.shape[1:] == own.shape[1:] and given.shape != own.shape:
        return f"for {given.shape[0]} classes there, {own.shape[0]} here: left at initialisation"
    if given.shape == own.shape:
        return "the rest of the head does not fit"
    return f"shape {tuple(given.shape)} there, {tuple(own.shape)} here"


def is_counter(name: str) -> bool:
    """Whether a tensor only counts the batches that a norm has seen."""
    return name.endswith("num_batches_tracked")
