import copy
import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from reslab.ops.recompute import (
    StatisticsLeftAlone,
    make_gradients,
    run_in_segments,
    split_evenly,
    usual_segments,
)


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


def test_a_frozen_start_still_gives_the_rest_its_gradients():
    plain = chain(3)
    for parameter in plain[0].parameters():
        parameter.requires_grad = False
    segmented = copy.deepcopy(plain)
    x = torch.randn(4, 3, 6, 6)  # needs no gradient
    for model in (plain, segmented):
        torch.manual_seed(1)
        out = model(x) if model is plain else run_in_segments(model, x, (2, 1))
        out.square().sum().backward()
    assert segmented[0][0].weight.grad is None
    for p, q in zip(plain.parameters(), segmented.parameters(), strict=True):
        assert (p.grad is None and q.grad is None) or torch.equal(p.grad, q.grad)


def test_autocast_is_as_it_was_in_the_forward():
    plain = chain(2)
    segmented = copy.deepcopy(plain)
    x = torch.randn(4, 3, 6, 6)
    for model in (plain, segmented):
        torch.manual_seed(1)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = model(x) if model is plain else run_in_segments(model, x, (1, 1))
        out.float().square().sum().backward()
    for p, q in zip(plain.parameters(), segmented.parameters(), strict=True):
        assert torch.equal(p.grad, q.grad)


def test_the_random_state_after_a_backward_is_that_of_an_ordinary_one():
    after = []
    for sizes in ((), (1, 2)):
        model = chain(3)
        x = torch.randn(4, 3, 6, 6)
        torch.manual_seed(1)
        out = run_in_segments(model, x, sizes) if sizes else model(x)
        out.sum().backward()
        after.append(torch.get_rng_state())
    assert torch.equal(*after)


def test_a_segment_of_identities_passes_gradients():
    x = torch.randn(2, 3, requires_grad=True)
    run_in_segments([nn.Identity(), nn.Identity()], x, (2,)).sum().backward()
    assert torch.equal(x.grad, torch.ones(2, 3))


def test_gradients_made_before_are_added_to():
    model = chain(1)
    model[0][0].weight.requires_grad = False
    make_gradients(model)
    assert model[0][0].weight.grad is None
    assert (model[0][1].weight.grad == 0).all()
    before = model[0][1].weight.grad.data_ptr()
    model(torch.randn(4, 3, 6, 6)).sum().backward()
    assert model[0][1].weight.grad.data_ptr() == before


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
    with pytest.raises(ZeroDivisionError), StatisticsLeftAlone([model]):
        model(torch.randn(4, 3, 6, 6))
        assert not torch.equal(model[0][1].running_mean, before["0.1.running_mean"])
        raise ZeroDivisionError
    assert all(torch.equal(a, before[name]) for name, a in states(model).items())
    assert [id(buffer) for buffer in model.buffers()] == buffers


def test_norms_keep_their_own_buffers_where_memory_is_too_short_for_the_copies(monkeypatch):
    model = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3))
    before = {name: id(buffer) for name, buffer in model.named_buffers()}
    clone, calls = torch.Tensor.clone, []

    def fail(tensor):
        calls.append(1)
        if len(calls) == 5:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return clone(tensor)

    monkeypatch.setattr(torch.Tensor, "clone", fail)
    with pytest.raises(torch.OutOfMemoryError), StatisticsLeftAlone([model]):
        raise AssertionError("not reached")
    assert {name: id(buffer) for name, buffer in model.named_buffers()} == before


def test_a_batch_that_is_not_finite_leaves_no_second_trace():
    model = chain(1)
    with StatisticsLeftAlone([model]):
        model(torch.full((4, 3, 6, 6), torch.nan))
    assert all(tensor.isfinite().all() for tensor in states(model).values())


def test_norms_in_evaluation_mode_keep_their_buffers():
    model = chain(1).eval()
    mean = model[0][1].running_mean
    with StatisticsLeftAlone([model]):
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


def test_even_a_net_without_convolutions_has_one_segment():
    assert usual_segments(0) == 1
    assert usual_segments(600 * 2) == 48


def test_uneven_blocks_get_shorter_segments():
    assert split_evenly([[16] * 8, [4] * 8], 5) == [[2, 2, 2, 2], [8]]


def test_a_second_backward_finds_the_segments_again():
    plain = chain(3)
    segmented = copy.deepcopy(plain)
    x = torch.randn(4, 3, 6, 6)
    gradients = []
    for model in (plain, segmented):
        torch.manual_seed(3)
        out = model(x) if model is plain else run_in_segments(model, x, (1, 2))
        out.sum().backward(retain_graph=True)
        out.square().sum().backward()
        gradients.append([p.grad for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
    ours, theirs = states(segmented), states(plain)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_norms_of_other_kinds_count_once_too():
    plain = nn.Sequential(nn.InstanceNorm2d(3, track_running_stats=True)).train()
    segmented = copy.deepcopy(plain)
    x = torch.randn(4, 3, 6, 6, requires_grad=True)
    plain(x).sum().backward()
    run_in_segments(segmented, x, (1,)).sum().backward()
    assert torch.equal(plain[0].running_mean, segmented[0].running_mean)
    assert (plain[0].running_mean != 0).any()
