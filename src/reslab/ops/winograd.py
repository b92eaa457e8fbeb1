"""The 3x3 convolution of stride 1 on reslab's kernels, with the norm and ReLU before it.

A quarter of the multiplications: Winograd's minimal filtering F(4x4, 3x3), see
ops/kernels/winograd.h. With few channels a block of tiles stays in a core's cache; with many
its planes go through torch's batched matrix product.

Shape suffixes: ``N`` images, ``C`` channels, ``H`` and ``W`` rows and columns, ``T`` tiles,
``P`` planes (36). Tensors NCHW lie in channels_last.
"""

from __future__ import annotations

import torch
from torch import Tensor

from reslab.ops.native import Kernels, threads_for
from reslab.ops.operands import Backward, End, Gradient, Source, is_plain_3x3

PLANES = 36
SIDE = 4

# Channels with which all is done in one go: more no longer leave room in the cache.
_FEW_CHANNELS = (16, 32, 64)

# Numbers of the planes that are held at a time where a library multiplies them, 64 MiB; the
# backward holds three times as many.
MOST_NUMBERS = 2**24

# Of the pixels of all tiles at least so many must lie inside the image: with fewer the
# multiplications saved are wasted on what sticks out.
_LEAST_INSIDE = 0.5


def suits(conv: torch.nn.Conv2d) -> bool:
    """Whether that convolution can be computed in this way."""
    return is_plain_3x3(conv, 1) and conv.in_channels == conv.out_channels


def fits(conv: torch.nn.Conv2d, x_NCHW: Tensor) -> bool:
    """Whether this is the way to compute that convolution of that input."""
    rows, columns = x_NCHW.shape[2:]
    return suits(conv) and _fills_tiles(rows, columns)


def numbers_of_image(conv: torch.nn.Conv2d, rows: int, columns: int) -> int:
    """Numbers of the planes of one image that are held outside of a core's cache; 0: none are."""
    if not suits(conv) or conv.in_channels in _FEW_CHANNELS or not _fills_tiles(rows, columns):
        return 0
    return PLANES * _tiles(rows, columns) * conv.in_channels


def pack(kernels: Kernels, weight_CC33: Tensor, *, backward: bool = False) -> Tensor:
    """Weights (out, in, 3, 3) as planes, (P, in, out) with few channels, else (P, out, in).

    Args:
        kernels: the kernels.
        weight_CC33: the weights, in any strides.
        backward: give those for the gradient of the input, (P, out, in) always, turned by half a
            circle.
    """
    channels = len(weight_CC33)
    out_step, in_step, *steps = weight_CC33.stride()
    few = channels in _FEW_CHANNELS
    sorts = (in_step, out_step) if few and not backward else (out_step, in_step)
    if backward:
        weight_CC33, steps = weight_CC33[:, :, 2:, 2:], [-step for step in steps]
    planes_PCC = _planes(weight_CC33, channels, apart=not few)
    kernels.call(
        "pack_weights",
        weight_CC33,
        *sorts,
        *steps,
        planes_PCC,
        planes_PCC.stride(0),
        channels,
        threads_for(PLANES * channels**2),
    )
    return planes_PCC


def convolve(kernels: Kernels, source: Source, weights_PCC: Tensor) -> tuple[Tensor, Tensor]:
    """The convolution of a source with weights as ``pack`` gives them.

    Returns:
        Its output z (N, C, H, W), and the sums of z and of its squares over all pixels (2, C), in
        double.
    """
    assert len(weights_PCC) == PLANES
    x = source.x_NCHW
    z = torch.empty_like(x)
    channels = x.shape[1]
    sums_2C = torch.empty(2, channels, dtype=torch.float64, device="cpu")
    if channels in _FEW_CHANNELS:
        kernels.call(
            "convolve",
            x,
            source.scale_C,
            source.shift_C,
            weights_PCC,
            z,
            sums_2C,
            *_sizes(x),
        )
        return z, sums_2C
    parts = []
    for part in _parts(x):
        sums = torch.empty_like(sums_2C)
        sizes = _sizes(x[part])
        planes_PTC = _planes_of(x[part])
        step = planes_PTC.stride(0)
        kernels.call(
            "pack_source", x[part], source.scale_C, source.shift_C, planes_PTC, step, *sizes
        )
        products_PTC = torch.bmm(planes_PTC, weights_PCC.transpose(1, 2))
        kernels.call("unpack_output", products_PTC, z[part], sums, products_PTC.stride(0), *sizes)
        # Before the next part asks for room of its own.
        del planes_PTC, products_PTC
        parts.append(sums)
    return z, torch.stack(parts).sum(dim=0)


def convolve_backward(
    kernels: Kernels,
    gradient: Gradient,
    source: Source,
    weight_CC33: Tensor,
    *,
    residual_NCHW: Tensor | None = None,
    end: End | None = None,
    for_source: bool = True,
    for_weight: bool = True,
) -> Backward:
    """The gradients of a convolution behind which a norm stands.

    Args:
        kernels: the kernels.
        gradient: of its output.
        source: what was convolved.
        weight_CC33: with what.
        residual_NCHW: what is added to the gradient of a plain source; None: nothing.
        end: what a plain source was made of; None: it is not asked for.
        for_source: whether the source's gradient is wanted; it is computed all the same.
        for_weight: whether that of the weights is.
    """
    del for_source
    x = source.x_NCHW
    to = torch.empty_like(x)
    channels = x.shape[1]
    sums_3C = torch.empty(3, channels, dtype=torch.float64, device="cpu")
    threads = threads_for(x.numel())
    before = (None, None) if end is None else (end.z_NCHW, end.shortcut_NCHW)
    weights_PCC = pack(kernels, weight_CC33, backward=True)
    if channels in _FEW_CHANNELS:
        added = x.new_zeros(threads, PLANES, channels, channels) if for_weight else None
        kernels.call(
            "convolve_backward",
            gradient.norm_NCHW,
            gradient.z_NCHW,
            gradient.coefficients_3C,
            x,
            source.scale_C,
            source.shift_C,
            residual_NCHW,
            *before,
            weights_PCC,
            to,
            added,
            sums_3C,
            *_sizes(x),
        )
        if added is None:
            return Backward(to, None, sums_3C)
        return Backward(to, _unpack_weights(kernels, added, weight_CC33), sums_3C)
    parts = []
    total: Tensor | None = None
    for part in _parts(x):
        sums, sizes = torch.empty_like(sums_3C), _sizes(x[part])
        products_PTC, total = _products_backward(
            kernels,
            gradient[part],
            Source(x[part], source.affine_2C),
            weights_PCC,
            total,
            for_weight=for_weight,
        )
        kernels.call(
            "unpack_gradient",
            products_PTC,
            x[part],
            source.scale_C,
            source.shift_C,
            *(None if t is None else t[part] for t in (residual_NCHW, *before)),
            to[part],
            sums,
            products_PTC.stride(0),
            *sizes,
        )
        # Before the next part asks for room of its own.
        del products_PTC
        parts.append(sums)
    weight_gradient = None
    if total is not None:
        weight_gradient = _unpack_weights(kernels, total[None], weight_CC33)
    return Backward(to, weight_gradient, torch.stack(parts).sum(dim=0))


def _products_backward(
    kernels: Kernels,
    gradient: Gradient,
    source: Source,
    weights_PCC: Tensor,
    total_PCC: Tensor | None,
    *,
    for_weight: bool,
) -> tuple[Tensor, Tensor | None]:
    """Planes (P, T, C) of the gradient of some images, and the total of the weights' so far."""
    x = source.x_NCHW
    for_input_PTC = _planes_of(x)
    for_weights_PTC = _planes_of(x) if for_weight else None
    step, sizes = for_input_PTC.stride(0), _sizes(x)
    kernels.call(
        "pack_gradient",
        gradient.norm_NCHW,
        gradient.z_NCHW,
        gradient.coefficients_3C,
        for_input_PTC,
        for_weights_PTC,
        step,
        *sizes,
    )
    if for_weights_PTC is not None:
        planes_PTC = _planes_of(x)
        kernels.call("pack_source", x, source.scale_C, source.shift_C, planes_PTC, step, *sizes)
        factors = for_weights_PTC.transpose(1, 2), planes_PTC
        total_PCC = torch.bmm(*factors) if total_PCC is None else total_PCC.baddbmm_(*factors)
        del planes_PTC, for_weights_PTC, factors
    return torch.bmm(for_input_PTC, weights_PCC), total_PCC


def _unpack_weights(kernels: Kernels, added: Tensor, weight_CC33: Tensor) -> Tensor:
    """Sums over planes (parts, P, in, out), or (…, out, in) with many channels, as a gradient."""
    gradient = torch.empty_like(weight_CC33)
    channels = len(weight_CC33)
    out_step, in_step, *steps = gradient.stride()
    few = channels in _FEW_CHANNELS
    kernels.call(
        "unpack_weights",
        added,
        added.stride(1),
        len(added),
        gradient,
        *((in_step, out_step) if few else (out_step, in_step)),
        *steps,
        channels,
        threads_for(PLANES * channels**2),
    )
    return gradient


def _sizes(x_NCHW: Tensor) -> tuple[int, int, int, int, int]:
    images, channels, rows, columns = x_NCHW.shape
    return images, rows, columns, channels, threads_for(x_NCHW.numel())


def _fills_tiles(rows: int, columns: int) -> bool:
    """Whether enough of the tiles of an image lies inside it."""
    return rows * columns >= _LEAST_INSIDE * SIDE**2 * _tiles(rows, columns)


def _tiles(rows: int, columns: int) -> int:
    """Tiles of one image."""
    return -(-rows // SIDE) * -(-columns // SIDE)


def _planes_of(x_NCHW: Tensor) -> Tensor:
    """Room for the planes of all tiles (P, T, C)."""
    return _planes(x_NCHW, len(x_NCHW) * _tiles(*x_NCHW.shape[2:]), apart=True)


def _planes(like: Tensor, rows: int, *, apart: bool) -> Tensor:
    """Room for planes of so many rows of ``like``'s channels.

    ``apart`` puts a cache line between them: at a distance of a power of two all 36 would compete
    for the same few lines of the cache.
    """
    channels = like.shape[1]
    step = rows * channels + (16 if apart else 0)
    return like.new_empty(PLANES * step).as_strided((PLANES, rows, channels), (step, channels, 1))


def _parts(x_NCHW: Tensor) -> list[slice]:
    """Images whose planes are held at the same time."""
    numbers = PLANES * _tiles(*x_NCHW.shape[2:]) * x_NCHW.shape[1]
    size = max(1, MOST_NUMBERS // numbers)
    return [slice(first, first + size) for first in range(0, len(x_NCHW), size)]
