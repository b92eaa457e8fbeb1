import copy
import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from reslab.ops.recompute import run_in_segments, split_evenly, statistics_left_alone


def chain(length=5, **norm):
    torch.manual_seed(0)
    return nn.Sequential(
        *(
            nn.Sequential(
                nn.Conv2d(3, 3, 3, padding=1, bias=False),
                nn.BatchNorm2d(3, **norm),
                nn.ReLU(inplace=True),
                nn.Dropout2d(0.3),
            )
            for _ in range(length)
        )
    ).train()


def states(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("norm", [{}, {"momentum": None}, {"track_running_stats": False}])
@pytest.mark.parametrize("sizes", [(5,), (2, 3), (1, 1, 1, 1, 1)])
def test_outputs_gradients_and_statistics_are_bit_for_bit_those_of_an_ordinary_run(norm, sizes):
    plain = chain(**norm)
    segmented = copy.deepcopy(plain)
    x = torch.randn(4, 3, 6, 6)
    outputs, gradients = [], []
    for model in (plain, segmented):
        for _ in range(2):  # the second step starts from what the first left in the buffers
            torch.manual_seed(3)
            given_x = x.clone().requires_grad_()
            model.zero_grad()
            out = model(given_x) if model is plain else run_in_segments(model, given_x, sizes)
            out.square().sum().backward()
        outputs.append(out)
        gradients.append([given_x.grad, *(p.grad for p in model.parameters())])
    assert torch.equal(*outputs)
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
    ours, theirs = states(segmented), states(plain)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    if "track_running_stats" not in norm:
        assert ours["0.1.num_batches_tracked"] == 2


def test_less_is_kept():
    def kept(run):
        sizes = {}

        def pack(tensor):
            sizes[tensor.untyped_storage().data_ptr()] = tensor
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            out = run()
        del out
        return sum(t.numel() for t in sizes.values() if t.ndim == 4 and t.shape[0] == 4)

    model = chain(8)
    x = torch.randn(4, 3, 6, 6)
    everything = kept(lambda: model(x))
    # What enters each of four segments.
    assert kept(lambda: run_in_segments(model, x, (2, 2, 2, 2))) == 4 * x.numel() < everything / 3


def test_statistics_are_put_back_even_where_something_fails():
    model = chain(2)
    before = states(model)
    buffers = [id(buffer) for buffer in model.buffers()]
    with pytest.raises(ZeroDivisionError), statistics_left_alone([model]):
        model(torch.randn(4, 3, 6, 6))
        assert not torch.equal(model[0][1].running_mean, before["0.1.running_mean"])
        raise ZeroDivisionError
    assert all(torch.equal(a, before[name]) for name, a in states(model).items())
    assert [id(buffer) for buffer in model.buffers()] == buffers


def test_a_batch_that_is_not_finite_leaves_no_second_trace():
    model = chain(1)
    with statistics_left_alone([model]):
        model(torch.full((4, 3, 6, 6), torch.nan))
    assert all(tensor.isfinite().all() for tensor in states(model).values())


def test_norms_in_evaluation_mode_keep_their_buffers():
    model = chain(1).eval()
    mean = model[0][1].running_mean
    with statistics_left_alone([model]):
        assert model[0][1].running_mean is mean


WEIGHTS = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=5), min_size=1, max_size=3)


def all_cuts(chain):
    """Every way to cut a chain into neighbours."""
    for ends in itertools.product([False, True], repeat=len(chain) - 1):
        sizes, size = [], 1
        for end in ends:
            if end:
                sizes.append(size)
                size = 0
            size += 1
        yield [*sizes, size]


def largest(chain, sizes):
    ends = list(itertools.accumulate(sizes, initial=0))
    return max(sum(chain[a:b]) for a, b in itertools.pairwise(ends))


@given(WEIGHTS, st.integers(1, 12))
def test_no_other_cut_has_a_smaller_largest_segment(chains, segments):
    found = split_evenly(chains, segments)
    assert [sum(sizes) for sizes in found] == [len(chain) for chain in chains]
    assert sum(map(len, found)) <= max(segments, len(chains))
    best = min(
        max(largest(chain, sizes) for chain, sizes in zip(chains, cut, strict=True))
        for cut in itertools.product(*map(all_cuts, chains))
        if sum(map(len, cut)) <= max(segments, len(chains))
    )
    assert max(largest(c, s) for c, s in zip(chains, found, strict=True)) == best


def test_uneven_blocks_get_shorter_segments():
    assert split_evenly([[16] * 8, [4] * 8], 5) == [[2, 2, 2, 2], [8]]
