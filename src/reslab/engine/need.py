"""What memory a training step needs, and what is done where there is less."""

from __future__ import annotations

from dataclasses import dataclass

from reslab.engine.machine import Choice
from reslab.errors import UserError
from reslab.ops.recompute import usual_segments
from reslab.ops.scratch import Scratch

# Where a step's activations need more of the memory than this, they are computed again:
# weights, their gradients, the data and other programs need the rest.
_SHARE = 0.25

# Of the memory that is free now, what a step may take.
_MOST = 0.9

# Of matplotlib, scikit-learn and what they load, measured as 0.2 GiB.
LIBRARIES = 2**28


@dataclass(frozen=True, kw_only=True)
class StepNeed:
    """What decides how much memory a training step takes.

    Attributes:
        batch_size: images of a batch.
        least: images that the net must see at a time, which batch norm may need to be two.
        image_bytes: activations of one image where all are kept for the backward.
        copies: numbers that are held of each parameter: weight, gradient, up to two of the
            optimiser, the best weight so far, and perhaps an average.
        parameters: of the net, in numbers.
        convolutions: of the net's residual branches, which decide how many segments are usual.
        scratch: of the kinds of convolutions, one of which is computed at a time; none where
            torch computes them.
    """

    batch_size: int
    least: int
    image_bytes: int
    copies: int = 5
    parameters: int
    convolutions: int
    scratch: tuple[Scratch, ...] = ()

    @property
    def fixed_bytes(self) -> int:
        """Bytes that a training holds besides activations and images.

        The libraries that evaluation and report load are among them.
        """
        return self.copies * 4 * self.parameters + LIBRARIES

    @property
    def most_parts(self) -> int:
        """Parts that a batch can be cut into at most."""
        return self.batch_size // self.least

    def activations(self, segments: int, parts: int = 1) -> int:
        """Bytes held for the backward at once, with a batch computed in so many parts."""
        return int(self.image_bytes * held_share(segments) * self.part_size(parts))

    def step_bytes(self, segments: int, parts: int = 1) -> int:
        """All that a step holds at once, images left out."""
        scratch = max((kind.of(self.part_size(parts)) for kind in self.scratch), default=0)
        return self.fixed_bytes + self.activations(segments, parts) + scratch

    def part_size(self, parts: int) -> int:
        """Images of the largest part."""
        return -(-self.batch_size // parts)


def held_share(segments: int) -> float:
    """What a step holds at once of the activations that it would keep without segments.

    With segments that are computed again: the inputs of all, and one of them with its
    gradients. The bounds lie above what benchmarks/memory_depth.py measured, 1.21 for
    resnet1202 and 0.09 with 48 segments; few segments of unequal blocks need more.

    >>> held_share(0), held_share(48)
    (1.25, 0.16666666666666666)
    """
    return 1.25 if segments == 0 else min(1.25, 8 / segments)


def choose_checkpoint_segments(
    asked: int | str, need: StepNeed, *, memory: int, free: int
) -> Choice:
    """Segments whose activations are computed again in the backward; 0 keeps them all.

    Args:
        asked: a number, or ``auto``.
        need: what a step needs.
        memory: what the device has, in bytes.
        free: what of it is free now.
    """
    setting = "checkpoint_segments"
    if asked != "auto":
        return Choice(setting=setting, value=int(asked), reason="as asked")
    kept = need.image_bytes * need.batch_size
    told = f"the activations of a batch take {kept / 2**30:.1f} of {memory / 2**30:.0f} GiB"
    if kept <= _SHARE * memory and need.step_bytes(0) <= _MOST * free:
        return Choice(setting=setting, value=0, reason=told)
    return Choice(
        setting=setting, value=usual_segments(need.convolutions), reason=f"{told}: too much to keep"
    )


def choose_micro_batches(asked: int | str, need: StepNeed, *, segments: int, free: int) -> Choice:
    """Into how many parts a batch is cut so that a step fits into the memory that is free.

    Args:
        asked: a number, or ``auto``.
        need: what a step needs.
        segments: whose activations are computed again.
        free: bytes that the device can give.

    Raises:
        UserError: where not even the smallest parts fit, or parts are too small.
    """
    setting = "micro_batches"
    most = need.most_parts
    if asked != "auto":
        if int(asked) > most:
            raise UserError(
                "engine.micro_batches leaves too few images in a part",
                expected=f"at most {most}, for {need.least} or more images each",
                received=str(asked),
            )
        return Choice(setting=setting, value=int(asked), reason="as asked")
    room = _MOST * free
    parts = 1
    while parts < most and need.step_bytes(segments, parts) > room:
        parts = min(2 * parts, most)
    seen = need.part_size(parts)
    if (least := need.step_bytes(segments, parts)) > room:
        raise UserError(
            "there is too little memory for this training",
            expected=f"{_gib(least / _MOST)} for {seen} images at a time",
            received=f"{_gib(free)} that are free",
            remedy="choose a smaller net or smaller images, or more engine.checkpoint_segments",
        )
    told = _compare(need, segments, 1, free)
    if parts == 1:
        return Choice(setting=setting, value=1, reason=told)
    return Choice(
        setting=setting,
        value=parts,
        reason=f"{told}: batches are computed in {parts} parts, and batch norm, where there is "
        f"any, sees {seen} images at a time",
    )


def shortage(need: StepNeed, *, segments: int, parts: int, free: int) -> str | None:
    """A warning where a step that nothing can be changed about may take more than is free.

    Args:
        need: what a step needs.
        segments: whose activations are computed again.
        parts: that a batch is computed in.
        free: bytes that the device can give.
    """
    if need.step_bytes(segments, parts) <= _MOST * free:
        return None
    return f"{_compare(need, segments, parts, free)}: the training may be killed for want of memory"


def _compare(need: StepNeed, segments: int, parts: int, free: int) -> str:
    taken = need.step_bytes(segments, parts)
    return f"a step takes {taken / 2**30:.1f} of {_gib(free)} that are free"


def _gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB"
