"""A small net, a cache of its own, and a catalogue and times that tests decide."""

from __future__ import annotations

import pytest
import torch

from reslab.inference import catalog, memo, selection
from reslab.inference.catalog import ENGINES, Entry
from reslab.models.blocks import BasicBlock
from reslab.models.resnet import ResNet
from tests.inference.planted import Static, Turned, name_int8, planted

OWN = ENGINES[:2]


@pytest.fixture
def model() -> ResNet:
    torch.manual_seed(0)
    return ResNet(BasicBlock, (1,), (4,), num_classes=3, stem="small")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(memo, "cache_folder", lambda _: tmp_path)
    Static.sizes.clear()


@pytest.fixture
def engines(monkeypatch):
    """Puts other engines into the catalogue."""

    def put(*entries: Entry) -> None:
        for module in (catalog, selection, memo):
            monkeypatch.setattr(module, "ENGINES", (*OWN, *entries))

    put()
    return put


@pytest.fixture
def times(monkeypatch):
    """Decides what measuring finds, and tells who was measured."""
    asked: list[list[str]] = []

    def put(**seconds: float) -> list[list[str]]:
        def found(contenders, **_: object) -> dict[str, float]:
            asked.append(list(contenders))
            for call in contenders.values():
                call()
            return {name: seconds[name] for name in contenders}

        monkeypatch.setattr(selection, "time_in_turns", found)
        return asked

    return put


@pytest.fixture
def long_work(monkeypatch):
    """Work that is worth all measuring."""
    monkeypatch.setattr(selection, "worth_trying", lambda untried, *_: list(untried))


@pytest.fixture
def int8(engines, monkeypatch):
    """An engine in int8 that is the net itself, but for the classes that it turns round."""
    engines(planted("Turned", precision="int8"))
    (entry,) = selection.ENGINES[2:]
    name_int8(monkeypatch, entry.name)
    Turned.sizes.clear()
