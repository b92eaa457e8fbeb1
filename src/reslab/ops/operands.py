"""What convolutions on reslab's kernels read and give, with norm and ReLU still to be done.

Shape suffixes: ``N`` images, ``C`` channels, ``H`` and ``W`` rows and columns. Tensors NCHW lie
in channels_last.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn


def is_plain_3x3(conv: nn.Conv2d, stride: int) -> bool:
    """Whether it is a 3x3 convolution of that stride as the papers have it, and nothing more."""
    return (
        conv.kernel_size == (3, 3)
        and conv.stride == (stride, stride)
        and conv.padding == (1, 1)
        and conv.dilation == (1, 1)
        and conv.groups == 1
        and conv.padding_mode == "zeros"
    )


@dataclass(frozen=True)
class Source:
    """An activation, or what becomes one by norm and ReLU: max(0, x * scale + shift).

    Attributes:
        x_NCHW: the tensor.
        affine_2C: scale and shift of each channel; None: x is the activation itself.
    """

    x_NCHW: Tensor
    affine_2C: Tensor | None = None

    @property
    def scale_C(self) -> Tensor | None:
        """What is multiplied by, if anything."""
        return None if self.affine_2C is None else self.affine_2C[0]

    @property
    def shift_C(self) -> Tensor | None:
        """What is added then, if anything."""
        return None if self.affine_2C is None else self.affine_2C[1]


@dataclass(frozen=True)
class Gradient:
    """The gradient of a convolution's output z, behind which a norm stands.

    Attributes:
        norm_NCHW: that of the norm's output.
        z_NCHW: the convolution's output.
        coefficients_3C: k1, k2, k3 of the norm's backward, by which the gradient of z is
            k1 norm + k2 z + k3.
    """

    norm_NCHW: Tensor
    z_NCHW: Tensor
    coefficients_3C: Tensor

    def __getitem__(self, images: slice) -> Gradient:
        """That of some of the images."""
        return Gradient(self.norm_NCHW[images], self.z_NCHW[images], self.coefficients_3C)


@dataclass(frozen=True)
class End:
    """Of a plain source what it was made of: ReLU(norm(z) + norm(shortcut)), or without the second.

    Attributes:
        z_NCHW: the residual branch's last convolution.
        shortcut_NCHW: the projection's; None: there is none.
    """

    z_NCHW: Tensor
    shortcut_NCHW: Tensor | None


@dataclass(frozen=True)
class Backward:
    """What a convolution's backward gives.

    Attributes:
        input_NCHW: the gradient before the source's norm and ReLU were applied: of a plain source
            the gradient with respect to it; of one with a norm that of the norm's output, zero
            where ReLU was; and so of one with a known ``End``.
        weight: the gradient of the weights; None where nobody wants it.
        sums_3C: where the source has a norm, the sums over all pixels of ``input_NCHW`` and of
            its product with the source's tensor, in double; where it is a block's ``End``, those
            of its products with the two z.
    """

    input_NCHW: Tensor | None
    weight: Tensor | None
    sums_3C: Tensor
