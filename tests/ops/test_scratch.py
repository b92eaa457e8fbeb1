from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from reslab.ops import winograd
from reslab.ops.native import Kernels
from reslab.ops.operands import Gradient, Source
from reslab.ops.scratch import Scratch, scratch_of


def conv(channels: int, **options: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, **{"padding": 1, **options})


def peak_bytes(found: profile) -> int:
    """The most that torch's allocator held at once beside what it held before."""
    events = [e for e in found.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


@pytest.mark.parametrize(
    ("channels", "images", "at_once"), [(128, 8, 8), (128, 8, 2), (256, 1, 1), (80, 5, 5)]
)
def test_a_convolution_holds_no_more_than_is_said_and_not_much_less(
    kernels: Kernels, monkeypatch: pytest.MonkeyPatch, channels: int, images: int, at_once: int
) -> None:
    layer = conv(channels)
    x, gradient = (
        torch.randn(images, channels, 14, 14).to(memory_format=torch.channels_last)
        for _ in range(2)
    )
    each = winograd.numbers_of_image(layer, 14, 14)
    monkeypatch.setattr(winograd, "MOST_NUMBERS", each * at_once)
    said = scratch_of(layer, 14, 14)
    assert said is not None
    coefficients_3C = torch.randn(3, channels)
    weight = layer.weight.detach()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        z, _ = winograd.convolve(kernels, Source(x), winograd.pack(kernels, weight, backward=False))
        winograd.convolve_backward(
            kernels, Gradient(gradient, z, coefficients_3C), Source(x), weight
        )
    # Output and gradients are no scratch.
    held = peak_bytes(found) - 4 * (2 * x.numel() + weight.numel())
    assert 0.9 * said.of(images) < held < 1.05 * said.of(images)


@pytest.mark.parametrize(
    ("layer", "side"),
    [
        (conv(64), 28),
        (conv(128, stride=2), 28),
        (nn.Conv2d(128, 128, 1), 28),
        (nn.Conv2d(128, 256, 3, padding=1), 28),
        (conv(128), 1),
    ],
)
def test_what_is_computed_in_another_way_needs_none(layer: nn.Conv2d, side: int) -> None:
    assert scratch_of(layer, side, side) is None


def test_from_some_images_on_it_no_longer_grows() -> None:
    said = scratch_of(conv(128), 28, 28)
    assert said == Scratch(
        image_bytes=12 * 36 * 49 * 128,
        most_bytes=12 * 2**24,
        fixed_bytes=8 * 36 * 128**2,
    )
    assert said.of(75) > said.of(74) == said.fixed_bytes + 74 * said.image_bytes
    assert said.of(75) == said.of(1000) == said.fixed_bytes + said.most_bytes
