import torch

from reslab.ops.operands import Gradient, Source


def test_a_source_without_a_norm_has_neither_scale_nor_shift():
    x = torch.rand(2, 16, 3, 3)
    assert (Source(x).scale_C, Source(x).shift_C) == (None, None)


def test_a_source_with_a_norm_has_both():
    affine = torch.rand(2, 16)
    source = Source(torch.rand(2, 16, 3, 3), affine)
    assert torch.equal(source.scale_C, affine[0])
    assert torch.equal(source.shift_C, affine[1])


def test_part_of_a_gradient_is_that_of_some_images():
    norm, z = torch.rand(2, 5, 16, 3, 3)
    part = Gradient(norm, z, torch.rand(3, 16))[1:3]
    assert torch.equal(part.norm_NCHW, norm[1:3])
    assert torch.equal(part.z_NCHW, z[1:3])
    assert part.coefficients_3C.shape == (3, 16)
