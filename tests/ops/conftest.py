"""The kernels that the tests of this folder compute with."""

from __future__ import annotations

import pytest

from reslab.ops.native import Kernels, find_kernels


@pytest.fixture(scope="session", params=["", "AVX2"], ids=["all", "AVX2"])
def kernels(request: pytest.FixtureRequest) -> Kernels:
    """Those for the whole instruction set, and those for the smaller one: 16 and 8 lanes."""
    found = find_kernels({"ONEDNN_MAX_CPU_ISA": request.param})
    if found.kernels is None:
        pytest.skip(found.reason)
    return found.kernels
