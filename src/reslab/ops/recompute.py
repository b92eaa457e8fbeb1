"""Activation checkpointing: keep segment ends only, compute the rest again in the backward.

Source: Chen et al., *Training Deep Nets with Sublinear Memory Cost* (arXiv 1604.06174):
with n equal layers in sqrt(n) segments, what is kept grows with sqrt(n).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def run_in_segments(blocks: Sequence[nn.Module], x: Tensor, sizes: Sequence[int]) -> Tensor:
    """Run blocks one after the other, keeping for the backward only what enters a segment.

    Gradients and running statistics are those of an ordinary run: random layers draw the
    same again, and batch norm counts a batch once.

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
            # The compiler moves updates of buffers behind the whole forward by itself and
            # cannot trace a context that changes modules.
            x = checkpoint(_run, segment, x, use_reentrant=False)
        else:
            x = checkpoint(
                _run,
                segment,
                x,
                use_reentrant=False,
                context_fn=partial(_contexts, segment),
            )
    return x


def _contexts(
    blocks: Sequence[nn.Module],
) -> tuple[contextlib.AbstractContextManager[None], contextlib.AbstractContextManager[None]]:
    """Around the forward, and around the computing again."""
    return contextlib.nullcontext(), statistics_left_alone(blocks)


def _run(blocks: Sequence[nn.Module], x: Tensor) -> Tensor:
    for block in blocks:
        x = block(x)
    return x


@contextlib.contextmanager
def statistics_left_alone(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Within the context batch norms normalise as before and update copies of their buffers."""
    norms = [
        module
        for root in modules
        for module in root.modules()
        if isinstance(module, _BatchNorm) and module.training
    ]
    # Copies, because autograd counts what a norm keeps: without running statistics it would
    # keep less than it did in the forward, and checkpointing would refuse the difference.
    before = [(norm, dict(norm.named_buffers(recurse=False))) for norm in norms]
    for norm, buffers in before:
        for name, buffer in buffers.items():
            setattr(norm, name, buffer.clone())
    try:
        yield
    finally:
        for norm, buffers in before:
            for name, buffer in buffers.items():
                setattr(norm, name, buffer)


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
