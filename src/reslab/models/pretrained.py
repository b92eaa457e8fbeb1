"""Give a net weights that were trained elsewhere, and tell tensor by tensor what became of them.

The head of another number of classes stays as it was initialised, a first convolution for
other channels is adapted, everything else must fit.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from reslab.errors import UserError
from reslab.models.published import TAGS, fetch_published
from reslab.models.state_files import read_state

Fate = Literal["loaded", "adapted", "kept", "left out"]

# The layers that may differ from those that were trained, in every net of the family.
_STEM, _HEAD = "conv1.weight", ("fc.weight", "fc.bias")


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


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """What loading weights did; ``str`` of it is a table.

    Attributes:
        source: where they came from.
        tensors: of the net in its order, then those of the file that it has no use for.
        doubts: sentences on what looks wrong though it could be loaded.
    """

    source: str
    tensors: tuple[TensorFate, ...]
    doubts: tuple[str, ...]

    def count(self, fate: Fate) -> int:
        """Tensors of that fate."""
        return sum(t.fate == fate for t in self.tensors)

    def rows(self) -> list[tuple[str, str, str, str]]:
        """(part of the net, what became of it, tensors, why), neighbours alike put together."""
        counts = Counter((t.name.partition(".")[0], t.fate, t.why) for t in self.tensors)
        return [(part, fate, str(n), why) for (part, fate, why), n in counts.items()]

    def __str__(self) -> str:
        lines = [f"weights from {self.source}"]
        lines += [
            f"  {part:<10} {fate:<9} {n:>4}  {why}".rstrip() for part, fate, n, why in self.rows()
        ]
        return "\n".join([*lines, *(f"doubtful: {doubt}" for doubt in self.doubts)])


def load_weights(
    model: nn.Module, source: str | Path, *, net: str = "", strict: bool = True
) -> LoadReport:
    """Load weights into a net and tell what was loaded, adapted, kept and left out.

    Args:
        model: the net; unchanged where loading fails.
        source: ``imagenet``, ``imagenet_v1`` or ``imagenet_v2`` for torchvision's published
            ones, a file (.safetensors, .pth …) or a run's folder.
        net: the net's name, which published weights are found by.
        strict: refuse weights of another net; False: load what fits.

    Raises:
        UserError: where there are no weights, they are damaged, or they are of another net.
    """
    state = fetch_published(net, str(source)) if source in TAGS else read_state(Path(source))
    own = model.state_dict()
    chosen, fates = match(own, state)
    if strict:
        _refuse_another_net(fates, source)
    elif not any(fate.fate in ("loaded", "adapted") for fate in fates):
        raise UserError(f"nothing in {source} fits the net", remedy="create the net that it is of")
    # Into the tensors that the net has, so that layout, type and sharing stay.
    with torch.no_grad():
        for name, tensor in chosen.items():
            own[name].copy_(tensor)
    return LoadReport(source=str(source), tensors=tuple(fates), doubts=tuple(_doubts(state)))


def match(
    own: Mapping[str, Tensor], found: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], list[TensorFate]]:
    """Decide for each tensor of a net and of a file what becomes of it; nothing is changed.

    Returns:
        The tensors to copy, of the net's shapes, and what became of each.
    """
    chosen: dict[str, Tensor] = {}
    fates = []
    for name, tensor in own.items():
        given = found.get(name)
        if given is not None and given.shape == tensor.shape:
            chosen[name] = given
            fates.append(TensorFate(name=name, fate="loaded"))
        elif given is not None and name == _STEM and _differ_in_channels(tensor, given):
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


def warn_of_report(report: LoadReport) -> None:
    """Tell by Python's warnings what a caller who did not ask for the report should know."""
    changed = [t for t in report.tensors if t.fate != "loaded" and "batches_tracked" not in t.name]
    told = [f"{t.name} {t.fate} ({t.why})" for t in changed]
    for text in [*told, *report.doubts]:
        warnings.warn(f"weights from {report.source}: {text}", stacklevel=3)


def _differ_in_channels(own: Tensor, given: Tensor) -> bool:
    return own.ndim == given.ndim == 4 and (
        own.shape[0] == given.shape[0] and own.shape[2:] == given.shape[2:]
    )


def _why_kept(name: str, own: Tensor, given: Tensor | None) -> str:
    if given is None:
        return "not in the file"
    if name in _HEAD and given.ndim == own.ndim:
        return f"for {given.shape[0]} classes there, {own.shape[0]} here: left at initialisation"
    return f"shape {tuple(given.shape)} there, {tuple(own.shape)} here"


def _refuse_another_net(fates: list[TensorFate], source: str | Path) -> None:
    """Head and counters may be missing, and nothing may be left over."""
    odd = [
        t
        for t in fates
        if t.fate in ("kept", "left out")
        and t.name not in _HEAD
        and not t.name.endswith("num_batches_tracked")
    ]
    if odd:
        missing, extra = (sum(t.fate == fate for t in odd) for fate in ("kept", "left out"))
        raise UserError(
            f"{source} holds the weights of another net",
            received=f"{missing} tensors of this net unfilled and {extra} without use, "
            f"{odd[0].name} among them ({odd[0].why})",
            remedy="create the net that they are of, or load with strict=False what fits",
        )


def _doubts(found: Mapping[str, Tensor]) -> list[str]:
    """What looks wrong in the weights themselves."""
    means = [t for name, t in found.items() if name.endswith("running_mean")]
    variances = [t for name, t in found.items() if name.endswith("running_var")]
    untouched = [bool((t == 0).all()) for t in means] + [bool((t == 1).all()) for t in variances]
    if untouched and all(untouched):
        return [
            "the net looks untrained: all batch-norm statistics are those that a net starts with"
        ]
    return []
