import pytest
import torch

from reslab.ops.stochastic_depth import StochasticDepth, linear_decay


def test_whole_images_are_left_out_and_the_others_enlarged():
    torch.manual_seed(0)
    branch = torch.rand(4000, 2, 3, 3) + 0.5
    out = StochasticDepth(0.25).train()(branch)
    factors = out / branch
    per_image = factors[:, :1, :1, :1]
    torch.testing.assert_close(factors, per_image.expand_as(factors))
    assert {round(f, 4) for f in per_image.flatten().tolist()} == {0.0, 1.3333}
    # Five standard errors of a proportion.
    left_out = (per_image == 0).float().mean().item()
    assert left_out == pytest.approx(0.25, abs=5 * (0.25 * 0.75 / 4000) ** 0.5)


def test_evaluation_and_probability_0_pass_the_branch_itself():
    branch = torch.rand(2, 3, 4, 4)
    assert StochasticDepth(0.5).eval()(branch) is branch
    assert StochasticDepth(0.0).train()(branch) is branch


def test_the_gradient_of_a_branch_that_is_left_out_is_zero():
    torch.manual_seed(1)
    branch = torch.rand(50, 1, 2, 2, requires_grad=True)
    out = StochasticDepth(0.5).train()(branch)
    out.sum().backward()
    gone = (out.flatten(1) == 0).all(dim=1)
    assert gone.any() and not gone.all()
    assert (branch.grad[gone] == 0).all()
    assert (branch.grad[~gone] == 2).all()


def test_the_type_of_the_branch_stays():
    assert StochasticDepth(0.5).train()(torch.ones(2, 1, 1, 1).bfloat16()).dtype == torch.bfloat16


def test_linear_decay_ends_at_the_last_probability():
    assert linear_decay(0.3, 3) == pytest.approx([0.1, 0.2, 0.3])
    assert linear_decay(0.0, 2) == [0.0, 0.0]


def test_it_tells_its_probability():
    assert repr(StochasticDepth(0.125)) == "StochasticDepth(probability=0.125)"
