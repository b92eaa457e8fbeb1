"""What all tests share: where real images lie, and a run that was trained once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import reslab
from reslab.engine.load import Load
from reslab.ops.native import Kernels, find_kernels


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """One thread each: several only wait for each other on images this small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="session")
def _kernels_are_built() -> None:
    """Before whichever test comes first, that it has no word of it on standard error."""
    find_kernels()


@pytest.fixture(scope="session")
def kernels() -> Kernels:
    """Those of the machine; without them the test is skipped."""
    found = find_kernels()
    if found.kernels is None:
        pytest.skip(found.reason)
    return found.kernels


@pytest.fixture(autouse=True, scope="session")
def _signals_are_heard() -> Iterator[None]:
    """Whoever starts the suite in the background may let it ignore SIGINT, or SIGHUP."""
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    }
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True, scope="session")
def _nobody_else_works() -> Iterator[None]:
    """What else runs on the machine changes no test's warnings."""

    class Quiet(Load):
        def others(self) -> float:
            return 0.0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reslab.workbench.forecast.Load", Quiet)
        patch.setattr("reslab.inference.selection.Load", Quiet)
        yield


@pytest.fixture(autouse=True, scope="session")
def _nothing_is_remembered_of_engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the tests measure is no business of the user's cache, nor it of theirs."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reslab.inference.memo.cache_folder", lambda _: cache)
        yield


@pytest.fixture(autouse=True, scope="session")
def _pictures_are_packed_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The user's cache keeps what it has, and gets nothing of the tests'."""
    cache = tmp_path_factory.mktemp("packs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reslab.data.pictures.ingest.cache_folder", lambda kind: cache / kind)
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with MNIST and Fashion-MNIST, where RESLAB_DATA names one."""
    if "RESLAB_DATA" not in os.environ:
        pytest.skip("RESLAB_DATA is not set")
    return Path(os.environ["RESLAB_DATA"])


@pytest.fixture(scope="session")
def tiny_source() -> reslab.ArraySource:
    """Three classes of 8x8 images that differ in brightness: learned in a moment."""
    rng = np.random.default_rng(0)

    def split(n: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.arange(n) % 3
        base = 40 + 80 * labels[:, None, None]
        return (base + rng.integers(-30, 30, (n, 8, 8))).astype(np.uint8), labels

    return reslab.ArraySource(
        *split(120), *split(60), name="tiny", classes=("dark", "grey", "bright")
    )


@pytest.fixture(scope="session")
def trained(
    tiny_source: reslab.ArraySource, tmp_path_factory: pytest.TempPathFactory
) -> reslab.Run:
    """A finished run on the tiny images; to be read and not changed (see ``own_run``)."""
    spec = reslab.recipe("fast", training={"epochs": 2, "batch_size": 20})
    return reslab.train(spec, data=tiny_source, out=tmp_path_factory.mktemp("runs") / "tiny")
