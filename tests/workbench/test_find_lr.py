"""A rate for a specification."""

from __future__ import annotations

import pytest
import torch

import reslab
from reslab.workbench.find_lr import find_learning_rate


def test_a_rate_is_found_without_a_trace(tiny_source: reslab.ArraySource) -> None:
    state = torch.get_rng_state()
    spec = reslab.recipe(training={"batch_size": 16, "lr": 0.123})
    sweep, usual = find_learning_rate(spec, data=tiny_source, steps=40)
    assert usual == pytest.approx(0.123)
    assert 1e-5 < sweep.suggestion < 10
    assert torch.equal(torch.get_rng_state(), state)
    again, _ = find_learning_rate(spec, data=tiny_source, steps=40)
    assert again == sweep
