"""Activation checkpointing: keep segment ends only, compute the rest again in the backward.

Source: Chen et al., *Training Deep Nets with Sublinear Memory Cost* (arXiv 1604.06174):
with n equal layers in sqrt(n) segments, what is kept grows with sqrt(n).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.checkpoint import checkpoint


def run_in_segments(blocks: Sequence[nn.Module], x: Tensor, sizes: Sequence[int]) -> Tensor:
    """Run blocks one after the other, keeping for the backward only what enters a segment.

    Gradients and running statistics are those of an ordinary run: random layers draw the
    same again, and norms count a batch once. There are no gradients of these gradients.

    Args:
        blocks: modules, each taking what the one before gives.
        x: what the first one takes.
        sizes: blocks in each segment; they add up to all.
    """
    start = 0
    for size in sizes:
        segment = tuple(blocks[start : start + size])
        start += size
        if torch.compiler.is_compiling():
            # The compiler traces torch's own, and moves updates of buffers behind the whole
            # forward by itself.
            x = checkpoint(_run, segment, x, use_reentrant=False)
        else:
            parameters = [p for block in segment for p in block.parameters() if p.requires_grad]
            x = _Segment.apply(segment, x, *parameters)
    return x


def _run(blocks: Sequence[nn.Module], x: Tensor) -> Tensor:
    for block in blocks:
        x = block(x)
    return x


class _Segment(torch.autograd.Function):
    """A segment as one step of autograd's graph.

    Not torch.utils.checkpoint, whose forward leaves a small object for each operation: glibc
    puts them into the gaps between the activations, which then fit into no gap again, so that
    the heap grows by a third of what was to be saved (docs/decisions/0008).
    """

    @staticmethod
    def forward(ctx: Any, blocks: Sequence[nn.Module], x: Tensor, *parameters: Tensor) -> Tensor:
        ctx.blocks = blocks
        ctx.parameters = parameters
        ctx.device = x.device.type
        ctx.random = _random_state(x.device)
        ctx.autocast = _autocast_of(ctx.device)
        ctx.save_for_backward(x)
        out = _run(blocks, x)
        # A segment of identities gives its input, which autograd has to tell from the output.
        return out.view_as(out) if out is x else out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        x = x.detach().requires_grad_(ctx.needs_input_grad[1])
        devices = [x.device] if ctx.device == "cuda" else []
        with (
            torch.random.fork_rng(devices=devices),
            torch.enable_grad(),
            torch.autocast(ctx.device, **ctx.autocast),
            StatisticsLeftAlone(ctx.blocks),
        ):
            _set_random_state(ctx.random, x.device)
            out = _run(ctx.blocks, x)
        wanted = [x, *ctx.parameters] if x.requires_grad else [*ctx.parameters]
        found = torch.autograd.grad(out, wanted, grad_out, allow_unused=True)
        return (None, *found) if x.requires_grad else (None, None, *found)


def _random_state(device: torch.device) -> list[Tensor]:
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return states


def _set_random_state(states: list[Tensor], device: torch.device) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)


def _autocast_of(device: str) -> dict[str, Any]:
    return {
        "enabled": torch.is_autocast_enabled(device),
        "dtype": torch.get_autocast_dtype(device),
        "cache_enabled": torch.is_autocast_cache_enabled(),
    }


class StatisticsLeftAlone:
    """Within the context norms normalise as before and update copies of their buffers.

    Args:
        modules: those whose norms are meant, at any depth.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self._modules = modules
        self._before: list[tuple[nn.Module, dict[str, Tensor]]] = []

    def __enter__(self) -> None:
        """Copy the buffers of norms that train."""
        self._before = [
            (norm, dict(norm.named_buffers(recurse=False)))
            for root in self._modules
            for norm in root.modules()
            if isinstance(norm, _NormBase) and norm.training
        ]
        # All of them before any is put in place: memory may be too short for the last.
        copies = [
            (norm, name, buffer.clone())
            for norm, buffers in self._before
            for name, buffer in buffers.items()
        ]
        for norm, name, copy in copies:
            setattr(norm, name, copy)

    def __exit__(self, *_: object) -> None:
        """Put the buffers back."""
        for norm, buffers in self._before:
            for name, buffer in buffers.items():
                setattr(norm, name, buffer)


def make_gradients(model: nn.Module) -> None:
    """Give each parameter a gradient of zeros, to be added to from the first backward on.

    Gradients that are made during a backward lie among the activations of a segment and part
    the room that the next one needs.
    """
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)


def usual_segments(convolutions: int) -> int:
    """The number of segments with which the least is kept: the root of what there is to keep.

    Each convolution of a residual branch leaves two activations: its own output for the norm,
    and the ReLU's.

    >>> usual_segments(1200)
    48
    """
    return max(1, math.isqrt(2 * convolutions))


def split_evenly(chains: Sequence[Sequence[float]], segments: int) -> list[list[int]]:
    """Cut chains into segments whose largest weight is as small as possible.

    No segment spans two chains, so that each chain has at least one, even where that makes
    more than ``segments``.

    Args:
        chains: the weight of each block of each chain, such as the memory that it keeps.
        segments: how many there may be.

    Returns:
        For each chain the number of blocks in its segments.

    >>> split_evenly([[4, 4, 4, 4], [2, 2, 2, 2]], 3)
    [[2, 2], [4]]
    """
    chains = [list(chain) for chain in chains if chain]
    # The best cap is the weight of some run of neighbours; bisecting real numbers between
    # the bounds finds it to within rounding, and the cut that it gives is what counts.
    low = max(max(chain) for chain in chains)
    high = max(sum(chain) for chain in chains)
    best = [_fill(chain, high) for chain in chains]
    for _ in range(40):
        cap = math.ldexp(low + high, -1)
        cut = [_fill(chain, cap) for chain in chains]
        if sum(map(len, cut)) <= max(segments, len(chains)):
            best, high = cut, cap
        else:
            low = cap
    lowest = [_fill(chain, low) for chain in chains]
    return lowest if sum(map(len, lowest)) <= segments else best


def _fill(chain: Sequence[float], cap: float) -> list[int]:
    """Cut a chain greedily into segments of at most ``cap``, with a little room for rounding."""
    sizes, weight = [0], 0.0
    for block in chain:
        if sizes[-1] and weight + block > cap * (1 + 1e-9):
            sizes.append(0)
            weight = 0.0
        sizes[-1] += 1
        weight += block
    return sizes
