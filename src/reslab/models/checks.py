"""What can be wrong with the arguments of a net, each told in one sentence."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor

from reslab.errors import UserError
from reslab.models.blocks import Block


def class_of(block: Callable[..., Block]) -> type[Block]:
    """The class that a block's maker makes.

    Raises:
        UserError: where that is no block.
    """
    while isinstance(block, partial):
        block = block.func
    if not (isinstance(block, type) and issubclass(block, Block)):
        raise UserError(
            "the net is made of blocks",
            expected="a class derived from reslab.Block",
            received=getattr(block, "__name__", repr(block)),
        )
    return block


def is_count(value: object, *, least: int) -> bool:
    """Whether it is a whole number, and no truth value, of at least that."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and value >= least  # type: ignore[operator]


def check_counts(name: str, values: Sequence[int]) -> None:
    """Raise UserError unless all are whole numbers of at least 1, and there are any."""
    if not values or not all(is_count(value, least=1) for value in values):
        raise UserError(f"{name} must be whole numbers of at least 1", received=repr(values))


def check_sizes(
    depths: Sequence[int], widths: Sequence[int], num_classes: int, in_channels: int
) -> None:
    """Raise UserError unless all are counts and each stage has a depth and a width."""
    check_counts("depths", [*depths])
    check_counts("widths", [*widths])
    check_counts("num_classes", [num_classes])
    check_counts("in_channels", [in_channels])
    if len(depths) != len(widths):
        raise UserError(
            "depths and widths must name the same stages",
            received=f"{len(depths)} depths and {len(widths)} widths",
        )


def check_probabilities(**values: float) -> None:
    """Raise UserError unless each is in [0, 1)."""
    for name, value in values.items():
        if not isinstance(value, float | int) or not 0 <= value < 1:
            raise UserError(
                f"{name} must be a probability below 1",
                expected="0 or more and less than 1",
                received=repr(value),
            )


def check_plain(**asked: bool) -> None:
    """Raise UserError for options that a net without shortcuts cannot have."""
    for name, wanted in asked.items():
        if wanted:
            raise UserError(
                f"{name} needs a shortcut",
                received="shortcut none, with which a silent branch leaves only zeros",
                remedy=f"turn {name} off or create a residual net",
            )


def check_images(images_NCHW: Tensor, channels: int) -> None:
    """Raise UserError unless they are floating-point images of so many channels."""
    if not isinstance(images_NCHW, Tensor):
        raise UserError("the net takes images as a tensor", received=type(images_NCHW).__name__)
    shape = tuple(images_NCHW.shape)
    if len(shape) != 4 or shape[1] != channels or 0 in shape[2:]:
        raise UserError(
            "the net cannot take images of this shape",
            expected=f"(N, {channels}, H, W)",
            received=f"({', '.join(map(str, shape))})",
            remedy=f"create the net with in_channels={shape[1]}"
            if len(shape) == 4 and shape[1] != channels
            else "",
        )
    if not images_NCHW.is_floating_point():
        raise UserError(
            "the net takes normalised images",
            expected="floating-point numbers",
            received=str(images_NCHW.dtype),
        )
