"""What can be wrong with the arguments of a net, each told in one sentence."""

from __future__ import annotations

import inspect
import numbers
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import torch
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


def check_block(block: Callable[..., Block], **options: object) -> None:
    """Raise UserError unless a block can be called with (in_channels, channels, stride, options).

    Before it is: an error from within a block of one's own stays its own.
    """
    try:
        inspect.signature(block).bind(1, 1, 1, **options)
    except TypeError as error:
        raise UserError(
            f"{class_of(block).__name__} cannot be called as blocks are",
            expected=f"(in_channels, channels, stride, *, {', '.join(options)})",
            received=str(error),
            remedy="let it take **options and ignore what it has no use for",
        ) from error


def channels_of(block: Block) -> int:
    """What a block says that it gives.

    Raises:
        UserError: where it does not say so.
    """
    channels = getattr(block, "out_channels", None)
    if not is_count(channels, least=1):
        raise UserError(
            f"{type(block).__name__} does not say how many channels it gives",
            expected="a whole number of at least 1 as out_channels",
            received=repr(channels),
            remedy="set self.out_channels in its __init__",
        )
    return channels  # type: ignore[return-value]


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
    for name, values in (("depths", depths), ("widths", widths)):
        if not isinstance(values, Iterable):
            raise UserError(
                f"{name} has one number for each stage",
                expected="a list such as [2, 2, 2]",
                received=repr(values),
            )
        check_counts(name, [*values])
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


def check_images(images_NCHW: Tensor, channels: int, dtype: torch.dtype) -> None:
    """Raise UserError unless they are images of so many channels in numbers that weights take.

    Args:
        images_NCHW: what the net was given.
        channels: what its first convolution takes.
        dtype: of its weights.
    """
    if not isinstance(images_NCHW, Tensor):
        raise UserError("the net takes images as a tensor", received=type(images_NCHW).__name__)
    shape = tuple(images_NCHW.shape)
    if len(shape) != 4 or shape[1] != channels or 0 in shape[2:]:
        raise UserError(
            "the net cannot take images of this shape",
            expected=f"(N, {channels}, H, W)",
            received=f"({', '.join(map(str, shape))})",
            remedy=_mend_shape(shape, channels),
        )
    if not images_NCHW.is_floating_point():
        raise UserError(
            "the net takes normalised images",
            expected="floating-point numbers",
            received=str(images_NCHW.dtype),
        )
    # Between the other types autocast chooses, which leaves fp64 alone.
    if (images_NCHW.dtype == torch.float64) != (dtype == torch.float64):
        raise UserError(
            "images and weights must be of one type",
            expected=str(dtype),
            received=str(images_NCHW.dtype),
            remedy=f"convert the images: images.to({dtype})",
        )


def _mend_shape(shape: tuple[int, ...], channels: int) -> str:
    if len(shape) == 3:
        return "a single image needs a batch around it: images[None]"
    if len(shape) != 4 or 0 in shape:
        return ""
    if shape[3] == channels:
        return "move the channels to the second place: images.permute(0, 3, 1, 2)"
    return f"create the net with in_channels={shape[1]}"
