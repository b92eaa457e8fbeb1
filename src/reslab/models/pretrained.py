"""Give a net weights that were trained elsewhere, and tell tensor by tensor what became of them.

The head of another number of classes stays as it was initialised, a first convolution for
other channels is adapted, everything else must fit.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from reslab.errors import UserError
from reslab.models.match import HEAD, STEM, Fate, TensorFate, is_counter, match
from reslab.models.published import TAGS, fetch_published
from reslab.models.state_files import read_identity, read_state


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
        return [(part, fate, str(n), why) for part, fate, n, why in _by_part(self.tensors)]

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
    if not isinstance(model, nn.Module):
        raise UserError(
            "weights go into a net",
            expected="a module, such as reslab.create_model makes",
            received=type(model).__name__,
            remedy="reslab.create_model(NAME, weights=…) makes one with weights",
        )
    if not isinstance(source, str | Path):
        raise UserError(
            "weights come from a file, a run or by name",
            expected="a path or one of " + ", ".join(TAGS),
            received=repr(source) if isinstance(source, int | None) else type(source).__name__,
        )
    own = model.state_dict()
    if any(tensor.is_meta for tensor in own.values()):
        raise UserError(
            "the net is on the meta device and cannot hold weights", remedy="create it on the cpu"
        )
    trained_as: Mapping[str, str] = {}
    if source in TAGS:
        _refuse_unlike_published(model)
        state = fetch_published(net, str(source))
    else:
        state = read_state(Path(source))
        trained_as = read_identity(Path(source))
    chosen, fates = match(own, state)
    unlike = _unlike(getattr(model, "identity", {}), trained_as)
    if strict:
        _refuse_another_net(fates, source, unlike)
    elif all(is_counter(name) for name in chosen):
        raise UserError(f"nothing in {source} fits the net", remedy="create the net that it is of")
    # Into the tensors that the net has, so that layout, type and sharing stay.
    with torch.no_grad():
        for name, tensor in chosen.items():
            own[name].copy_(tensor)
    doubts = [*_doubts(state), *unlike]
    return LoadReport(source=str(source), tensors=tuple(fates), doubts=tuple(doubts))


def warn_of_report(report: LoadReport) -> None:
    """Tell by Python's warnings what a caller who did not ask for the report should know."""
    changed = [t for t in report.tensors if t.fate != "loaded" and not is_counter(t.name)]
    told = [f"{part} {fate} ({why})" for part, fate, _, why in _by_part(changed)]
    for text in [*told, *report.doubts]:
        warnings.warn(f"weights from {report.source}: {text}", stacklevel=3)


def _by_part(tensors: Iterable[TensorFate]) -> list[tuple[str, Fate, int, str]]:
    counts = Counter((t.name.partition(".")[0], t.fate, t.why) for t in tensors)
    return [(part, fate, n, why) for (part, fate, why), n in counts.items()]


def _refuse_unlike_published(model: nn.Module) -> None:
    """Refuse options that no tensor's shape would betray."""
    strided_1x1 = any(
        isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.stride != (1, 1)
        for name, module in model.named_modules()
        if ".downsample" not in name
    )
    odd = ["stride_in_1x1"] if strided_1x1 else []
    activation = getattr(model, "relu", None)
    if not isinstance(activation, nn.ReLU):
        odd.append(f"activation {type(activation).__name__}")
    if odd:
        raise UserError(
            "the published weights are of nets with ReLU and the stride in the 3x3 convolution",
            received=" and ".join(odd),
            remedy="leave these options as they are",
        )


def _refuse_another_net(fates: list[TensorFate], source: str | Path, unlike: Sequence[str]) -> None:
    """Head and counters may be missing, and nothing may be left over."""
    odd = [
        t
        for t in fates
        if t.fate in ("kept", "left out") and t.name not in HEAD and not is_counter(t.name)
    ]
    if odd:
        missing, extra = (sum(t.fate == fate for t in odd) for fate in ("kept", "left out"))
        raise UserError(
            f"{source} holds the weights of another net",
            received=f"{missing} of this net's tensors unfilled and {extra} of the file's unused, "
            f"{odd[0].name} among them ({odd[0].why}){''.join(f', and {t}' for t in unlike)}",
            remedy="give the net the other stem"
            if [t.name for t in odd] == [STEM]
            else "create the net that they are of, or let reslab.load_weights(…, strict=False) "
            "take what fits",
        )


def _unlike(own: Mapping[str, str], trained_as: Mapping[str, str]) -> list[str]:
    """Where the net computes otherwise than the one whose weights have the same shapes."""
    odd = [
        f"{key} {trained_as[key]} there, {own[key]} here"
        for key in own.keys() & trained_as.keys() - {"net"}
        if own[key] != trained_as[key]
    ]
    net = trained_as.get("net", "a net")
    return [f"the weights are of {net} with {text}" for text in sorted(odd)]


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
