"""The kernels that the tests of this folder compute with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from reslab.ops.native import Kernels, find_kernels


@pytest.fixture(scope="session", params=["", "AVX2"], ids=["all", "AVX2"])
def kernels(request: pytest.FixtureRequest) -> Kernels:
    """Those for the whole instruction set, and those for the smaller one: 16 and 8 lanes."""
    found = find_kernels({"ONEDNN_MAX_CPU_ISA": request.param})
    if found.kernels is None:
        pytest.skip(found.reason)
    return found.kernels


@pytest.fixture(autouse=True, scope="session")
def _small_work_is_shared() -> Iterator[None]:
    """Images as small as the tests' would otherwise be left to a single thread."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reslab.ops.native._GRAIN", 1)
        yield
